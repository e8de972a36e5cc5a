package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// routes is the API. A path that ends in a verb is a call that may take long.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/peers", s.peers)
	mux.HandleFunc("POST /v1/invite", s.invite)
	mux.HandleFunc("POST /v1/add", s.add)
	mux.HandleFunc("GET /v1/files/{cid}", withCID(s.cat))
	mux.HandleFunc("POST /v1/files/{cid}/get", withCID(s.get))
	mux.HandleFunc("POST /v1/jobs", s.submit)
	mux.HandleFunc("GET /v1/jobs", s.jobs)
	mux.HandleFunc("GET /v1/jobs/{cid}", withCID(s.jobStatus))
	mux.HandleFunc("GET /v1/jobs/{cid}/wait", withCID(s.wait))
	mux.HandleFunc("GET /v1/jobs/{cid}/result", withCID(s.result))
	mux.HandleFunc("POST /v1/jobs/{cid}/parts", withCID(s.resultParts))
	mux.HandleFunc("GET /v1/jobs/{cid}/logs", withCID(s.logs))
	mux.HandleFunc("GET /v1/jobs/{cid}/story", withCID(s.story))
	mux.HandleFunc("POST /v1/jobs/{cid}/cancel", withCID(s.cancel))
	return mux
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	reply(w, r, s.node.Status(), nil)
}

func (s *Server) peers(w http.ResponseWriter, r *http.Request) {
	reply(w, r, s.node.Peers(), nil)
}

func (s *Server) invite(w http.ResponseWriter, r *http.Request) {
	var o node.InviteOptions
	if err := decodeBody(w, r, &o); err != nil {
		fail(w, r, err)
		return
	}
	token, err := s.node.Invite(o)
	reply(w, r, inviteReply{token}, err)
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) {
	path, err := decodePath(w, r)
	if err != nil {
		fail(w, r, err)
		return
	}
	stream(w, r, func(ctx context.Context, report func(progress)) (any, error) {
		return s.node.Add(ctx, path, bytesTo(report))
	})
}

func (s *Server) cat(w http.ResponseWriter, r *http.Request, c protocol.CID) {
	raw(w, r, func(ctx context.Context, out io.Writer) (bool, error) {
		return false, s.node.Cat(ctx, c, out)
	})
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, c protocol.CID) {
	path, err := decodePath(w, r)
	if err != nil {
		fail(w, r, err)
		return
	}
	stream(w, r, func(ctx context.Context, report func(progress)) (any, error) {
		return nil, s.node.Get(ctx, c, path, bytesTo(report))
	})
}

func bytesTo(report func(progress)) node.Progress {
	return func(done, total int64) { report(progress{done, total}) }
}

// withCID serves requests whose path names a file or job.
func withCID(serve func(http.ResponseWriter, *http.Request, protocol.CID)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := pathCID(r)
		if err != nil {
			fail(w, r, err)
			return
		}
		serve(w, r, c)
	}
}

// pathCID is the CID in the request's path.
func pathCID(r *http.Request) (protocol.CID, error) {
	c, err := protocol.ParseCID(r.PathValue("cid"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", node.ErrInput, err)
	}
	return c, nil
}

// decodePath reads a body that names an absolute path: the node's working
// directory is not the client's.
func decodePath(w http.ResponseWriter, r *http.Request) (string, error) {
	var req pathRequest
	if err := decodeBody(w, r, &req); err != nil {
		return "", err
	}
	return req.Path, absolute(req.Path)
}

func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%w: the path %q is not absolute", node.ErrInput, path)
	}
	return nil
}

// decodeBody reads the whole body: only then does net/http notice that the
// client goes away.
func decodeBody(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return fmt.Errorf("%w: reading the request: %w", node.ErrInput, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: decoding the request: %w", node.ErrInput, err)
	}
	return nil
}

// reply writes v, or err if it is not nil.
func reply(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		fail(w, r, err)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		fail(w, r, fmt.Errorf("encoding the reply: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that is gone needs no reply
}

// fail writes err as the whole reply.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	body, status := describe(explain(r, err))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// explain replaces the bare fact that a call was cancelled by the reason, when
// the reason is that the node is being stopped.
func explain(r *http.Request, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(r.Context()), ErrStopping) {
		return ErrStopping
	}
	return err
}
