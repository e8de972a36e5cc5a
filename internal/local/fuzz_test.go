package local

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/meshnode/meshnode/internal/local/localtest"
	"github.com/meshnode/meshnode/node"
)

// FuzzRequestBody reads anything as each kind of request.
func FuzzRequestBody(f *testing.F) {
	for _, body := range []string{
		`{"path": "/in"}`, `{"roles": ["work"], "for": 3600000000000}`, `{"path": "in"}`, `null`, `[]`,
		`{"name": "count", "map": {"kind": "wasm", "path": "/x.wasm"}, "reduce": null, "inputs": ["/a", "bafkreia"], "files": ["/f"], "split": 1e3}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ask := func() (http.ResponseWriter, *http.Request) {
			return httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		}
		w, r := ask()
		if path, err := decodePath(w, r); err == nil && !filepath.IsAbs(path) {
			t.Fatalf("the path %q is not absolute", path)
		}
		var o node.InviteOptions
		w, r = ask()
		_ = decodeBody(w, r, &o)
		var spec node.JobSpec
		w, r = ask()
		if decodeBody(w, r, &spec) != nil || checkSpec(spec) != nil {
			return
		}
		for _, p := range append([]string{spec.Map.Path}, spec.Files...) {
			if p != "" && !filepath.IsAbs(p) {
				t.Fatalf("the path %q is not absolute", p)
			}
		}
	})
}

// saying answers every request with the same bytes.
type saying []byte

func (s saying) RoundTrip(r *http.Request) (*http.Response, error) {
	trailer := http.Header{trailerError: {string(s)}}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s)), Trailer: trailer, Request: r}, nil
}

// FuzzReply has a node, perhaps of another version, answer anything.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		`{"id": "` + testPeer + `", "peers": 2}`, `[{"id": "` + testPeer + `", "self": true}]`,
		`{"report": {"done": 1, "total": 2}}` + "\n" + `{"result": {"cid": ""}, "done": true}`,
		`{"report": {"job": "", "workers": {"` + testPeer + `": 1}, "stewards": ["` + testPeer + `"]}}` + "\n" + `{"error": {"code": "unknown_job"}, "done": true}`,
		`{"report": {"task": "0/1", "worker": "x"}}`, `{"done": true}`, `eyJlcnJvciI6ICJ4In0=`, "\n\n",
	} {
		f.Add([]byte(reply))
	}
	job := localtest.Job()
	f.Fuzz(func(t *testing.T, reply []byte) {
		c := &Client{dir: "/home", http: &http.Client{Transport: saying(reply)}}
		ctx := t.Context()
		_, _ = c.Status(ctx)
		_, _ = c.Peers(ctx)
		_, _ = c.Jobs(ctx)
		if _, err := c.Wait(ctx, job, nil); err == nil && !bytes.Contains(reply, []byte("done")) {
			t.Fatalf("a stream that breaks off ends a wait: %q", reply)
		}
		_ = c.Logs(ctx, job, func(node.LogEntry) error { return nil })
		_, _ = c.Add(ctx, "/in", nil)
		_, _ = c.Submit(ctx, node.JobSpec{}, nil)
		if _, err := c.Result(ctx, job, io.Discard); err == nil && len(reply) > 0 {
			t.Fatalf("a result whose end says %q is whole", reply)
		}
	})
}
