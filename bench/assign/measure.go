package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// measure runs all cases in turn, first to warm up, then as often as asked.
func measure(ctx context.Context, o options, stderr io.Writer) (results []result, err error) {
	dir, err := os.MkdirTemp("", "assign-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	pass := sleep
	if o.spin {
		pass = spin
	}
	meshes := map[shape]*mesh{}
	defer func() {
		for _, m := range meshes {
			err = errors.Join(err, m.close())
		}
	}()
	for run := 1 - o.warmup; run <= o.repeats; run++ {
		for _, e := range o.list {
			if meshes[e.mesh] == nil {
				m, err := startMesh(ctx, e.mesh, pass)
				if err != nil {
					return results, err
				}
				meshes[e.mesh] = m
			}
			r, err := one(ctx, o, meshes[e.mesh], e, dir, run)
			if err != nil {
				return results, err
			}
			fmt.Fprintln(stderr, r.line())
			if run > 0 {
				results = append(results, r)
			}
		}
	}
	return results, nil
}

// one runs one trial within the limit.
func one(ctx context.Context, o options, m *mesh, e experiment, dir string, run int) (result, error) {
	var jobs []job
	for _, b := range e.jobs {
		j, err := newJob(dir, b)
		if err != nil {
			return result{}, err
		}
		jobs = append(jobs, j)
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("the trial took longer than %s", o.limit))
	defer cancel()
	r := runTrial(limited, m, e, jobs, run)
	if ctx.Err() != nil {
		return r, errors.New("interrupted")
	}
	return r, nil
}
