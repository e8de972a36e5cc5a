package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// Submit lets the node capture and commit a job. Relative paths are taken from
// the caller's working directory; an input that is a CID and no existing path
// is a CID.
func (c *Client) Submit(ctx context.Context, spec node.JobSpec, report node.Progress) (protocol.CID, error) {
	spec, err := absoluteSpec(spec)
	if err != nil {
		return "", err
	}
	var reply submitReply
	err = c.stream(ctx, http.MethodPost, "/v1/jobs", spec, bytesFrom(report), &reply)
	return reply.Job, err
}

// absoluteSpec returns spec with absolute paths.
func absoluteSpec(spec node.JobSpec) (node.JobSpec, error) {
	var failed error
	abs := func(path string) string {
		full, err := filepath.Abs(path)
		if err != nil && failed == nil {
			failed = fmt.Errorf("finding %s: %w", path, err)
		}
		return full
	}
	program := func(p node.ProgramSpec) node.ProgramSpec {
		if p.Path != "" {
			p.Path = abs(p.Path)
		}
		return p
	}
	inputs, files := make([]string, len(spec.Inputs)), make([]string, len(spec.Files))
	for i, in := range spec.Inputs {
		inputs[i] = in
		if !IsCID(in) {
			inputs[i] = abs(in)
		}
	}
	for i, path := range spec.Files {
		files[i] = abs(path)
	}
	spec.Inputs, spec.Files, spec.Map = inputs, files, program(spec.Map)
	for _, p := range []**node.ProgramSpec{&spec.Reduce, &spec.Combine} {
		if *p != nil {
			made := program(**p)
			*p = &made
		}
	}
	return spec, failed
}

// IsCID tells whether an input names content: it reads as a CID and no such
// path exists.
func IsCID(input string) bool {
	if _, err := protocol.ParseCID(input); err != nil {
		return false
	}
	_, err := os.Lstat(input)
	return err != nil
}

// Jobs are the jobs that live members know, newest first.
func (c *Client) Jobs(ctx context.Context) ([]node.JobStatus, error) {
	var all []node.JobStatus
	err := c.call(ctx, http.MethodGet, "/v1/jobs", nil, &all)
	return all, err
}

// JobStatus is how far the job is.
func (c *Client) JobStatus(ctx context.Context, job protocol.CID) (node.JobStatus, error) {
	var st node.JobStatus
	err := c.call(ctx, http.MethodGet, jobPath(job, ""), nil, &st)
	return st, err
}

// Wait returns when the job has ended; report, which may be nil, is called with
// the latest state, up to 20 times a second.
func (c *Client) Wait(ctx context.Context, job protocol.CID, report func(node.JobStatus)) (node.JobStatus, error) {
	var last node.JobStatus
	err := c.stream(ctx, http.MethodGet, jobPath(job, "/wait"), nil, func(b json.RawMessage) error {
		var seen node.JobStatus
		if err := json.Unmarshal(b, &seen); err != nil {
			return err
		}
		if report != nil {
			report(seen)
		}
		return nil
	}, &last)
	return last, err
}

// Result writes the job's result to w.
func (c *Client) Result(ctx context.Context, job protocol.CID, w io.Writer) (provisional bool, err error) {
	return c.raw(ctx, jobPath(job, "/result"), w)
}

// ResultParts lets the node write the job's result to the new folder path.
func (c *Client) ResultParts(ctx context.Context, job protocol.CID, path string) (provisional bool, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return false, fmt.Errorf("finding %s: %w", path, err)
	}
	var reply partsReply
	err = c.call(ctx, http.MethodPost, jobPath(job, "/parts"), pathRequest{path}, &reply)
	return reply.Provisional, err
}

// Logs calls each with the log of every run of a task; an error of each ends
// the call and is returned.
func (c *Client) Logs(ctx context.Context, job protocol.CID, each func(node.LogEntry) error) error {
	return c.stream(ctx, http.MethodGet, jobPath(job, "/logs"), nil, func(b json.RawMessage) error {
		var e node.LogEntry
		if err := json.Unmarshal(b, &e); err != nil {
			return err
		}
		return each(e)
	}, nil)
}

// Explain tells what has happened to the job, or to the task of it that is named
// STAGE/INDEX, and what keeps it now; the empty name means the whole job.
func (c *Client) Explain(ctx context.Context, job protocol.CID, task string) (node.Explanation, error) {
	path := jobPath(job, "/story")
	if task != "" {
		path += "?task=" + url.QueryEscape(task)
	}
	var e node.Explanation
	err := c.call(ctx, http.MethodGet, path, nil, &e)
	return e, err
}

// Cancel ends the job without a result.
func (c *Client) Cancel(ctx context.Context, job protocol.CID) error {
	var done struct{}
	return c.call(ctx, http.MethodPost, jobPath(job, "/cancel"), nil, &done)
}

func jobPath(job protocol.CID, verb string) string { return "/v1/jobs/" + job.String() + verb }
