package local

import (
	"context"
	"io"
	"net/http"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func (s *Server) submit(w http.ResponseWriter, r *http.Request) {
	var spec node.JobSpec
	err := decodeBody(w, r, &spec)
	if err == nil {
		err = checkSpec(spec)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	stream(w, r, func(ctx context.Context, report func(progress)) (any, error) {
		job, err := s.node.Submit(ctx, spec, bytesTo(report))
		return submitReply{job}, err
	})
}

// checkSpec refuses relative paths; the node checks everything else.
func checkSpec(spec node.JobSpec) error {
	paths := append([]string{}, spec.Files...)
	for _, in := range spec.Inputs {
		if _, err := protocol.ParseCID(in); err != nil {
			paths = append(paths, in)
		}
	}
	for _, p := range []*node.ProgramSpec{&spec.Map, spec.Reduce, spec.Combine} {
		if p != nil && p.Path != "" {
			paths = append(paths, p.Path)
		}
	}
	for _, path := range paths {
		if err := absolute(path); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) jobs(w http.ResponseWriter, r *http.Request) {
	jobs, err := s.node.Jobs(r.Context())
	if jobs == nil {
		jobs = []node.JobStatus{} // an empty list, not null
	}
	reply(w, r, jobs, err)
}

func (s *Server) jobStatus(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	st, err := s.node.JobStatus(r.Context(), job)
	reply(w, r, st, err)
}

func (s *Server) wait(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	stream(w, r, func(ctx context.Context, report func(node.JobStatus)) (any, error) {
		return s.node.Wait(ctx, job, report)
	})
}

func (s *Server) result(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	raw(w, r, func(ctx context.Context, out io.Writer) (bool, error) {
		return s.node.Result(ctx, job, out)
	})
}

func (s *Server) resultParts(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	path, err := decodePath(w, r)
	if err != nil {
		fail(w, r, err)
		return
	}
	provisional, err := s.node.ResultParts(r.Context(), job, path)
	reply(w, r, partsReply{provisional}, err)
}

// logs writes every entry, at the pace at which the client reads.
func (s *Server) logs(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	lines := newLineWriter(w)
	err := s.node.Logs(r.Context(), job, func(e node.LogEntry) error {
		return lines.report(e)
	})
	if err != nil && !lines.began {
		fail(w, r, err)
		return
	}
	_ = lines.end(nil, explain(r, err))
}

// story explains a job, or the task that the query names.
func (s *Server) story(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	var task *protocol.Key
	if text := r.URL.Query().Get("task"); text != "" {
		k, err := s.node.FindTask(r.Context(), job, text)
		if err != nil {
			fail(w, r, err)
			return
		}
		task = &k
	}
	e, err := s.node.Explain(r.Context(), job, task)
	reply(w, r, e, err)
}

func (s *Server) cancel(w http.ResponseWriter, r *http.Request, job protocol.CID) {
	reply(w, r, struct{}{}, s.node.Cancel(r.Context(), job))
}
