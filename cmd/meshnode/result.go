package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// output is where a job's result goes: standard output, a file, or a new folder
// of parts.
type output struct {
	path  string // "" is standard output
	parts bool   // a folder of part-00000, ...
}

// check holds, before a job costs anything, that its result will find room.
func (o output) check() error {
	switch {
	case o.path == "":
		return nil
	case o.parts:
		return mustBeNew(o.path)
	}
	info, err := os.Stat(o.path)
	if err == nil && info.IsDir() {
		return hinted(fmt.Errorf("%s is a folder", o.path), "name a file that is not there yet; a folder of parts is made by run --partitions, or by job result --parts")
	}
	return folderMustExist(o.path)
}

// collect writes the job's result where it goes.
func (o output) collect(ctx context.Context, c *local.Client, job protocol.CID, stdout, stderr io.Writer) error {
	provisional, err := o.write(ctx, c, job, stdout)
	switch {
	case errors.Is(err, node.ErrNotFinished):
		return hinted(err, "wait for it with: meshnode job wait "+job.String())
	case errors.Is(err, node.ErrJobFailed):
		return hinted(knownNames(ctx, c).inError(err), "see what happened with: meshnode job status "+job.String()+", and: meshnode job logs "+job.String())
	case err != nil:
		return err
	}
	if provisional {
		fmt.Fprintln(stderr, "meshnode: warning: the result is provisional: not all of its copies are made yet")
	}
	return nil
}

func (o output) write(ctx context.Context, c *local.Client, job protocol.CID, stdout io.Writer) (provisional bool, err error) {
	switch {
	case o.path == "":
		return c.Result(ctx, job, stdout)
	case o.parts:
		return c.ResultParts(ctx, job, o.path)
	}
	err = writeFile(o.path, func(w io.Writer) error {
		provisional, err = c.Result(ctx, job, w)
		return err
	})
	return provisional, err
}

// writeFile lets fill write the file at path, which changes only once all of it
// is there. What is no regular file, a pipe or a device, is written to as it
// is.
func writeFile(path string, fill func(io.Writer) error) error {
	mode := os.FileMode(0o666)
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return writeThrough(path, fill)
		}
		mode = info.Mode().Perm()
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("finding where %s points to: %w", path, err)
		}
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:8]+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = errors.Join(fill(f), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // it holds nothing that the mesh does not
	}
	return err
}

func writeThrough(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}
