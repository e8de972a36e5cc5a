package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/meshnode/meshnode/protocol"
)

// maxLine bounds one value of a typed function, encoded.
const maxLine = 64 << 20

// binaryVersion is the version of this program's functions: the hash of its
// binary, since a function is only as equal as the program around it.
var binaryVersion = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unknown"
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
})

// funcID is a function's name on the wire: NAME@VERSION. A name that has a
// version keeps it.
func funcID(name string) string {
	if strings.Contains(name, "@") {
		return name
	}
	return name + "@" + binaryVersion()
}

func (n *Node) funcNames() []string {
	names := make([]string, 0, len(n.cfg.Funcs))
	for name := range n.cfg.Funcs {
		names = append(names, funcID(name))
	}
	slices.Sort(names)
	return names
}

// resolveFunc finds the function that a name means: this program's own, or the
// only one of that name in the mesh. It fails with ErrNoCapableNode.
func (n *Node) resolveFunc(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%w: a function without a name", ErrInput)
	}
	if strings.Contains(name, "@") || n.cfg.Funcs[name] != nil {
		return funcID(name), nil
	}
	var found []string
	for _, node := range n.liveNodes() {
		for _, f := range node.Has.Funcs {
			if strings.HasPrefix(f, name+"@") && !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: no live node has a function %q registered; a program that embeds a node registers it in Config.Funcs", ErrNoCapableNode, name)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: function %q is registered in several versions; name one of %s", ErrInput, name, strings.Join(found, ", "))
}

// MapFunc makes a typed function a Func: it is called with each item of a
// split in turn. Values travel as JSON, one a line.
func MapFunc[In, Out any](f func(ctx context.Context, in In) (Out, error)) Func {
	return func(ctx context.Context, in io.Reader, out, log io.Writer) error {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, maxLine)
		values := json.NewEncoder(out)
		for lines.Scan() {
			var item In
			if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
				return fmt.Errorf("decoding an item: %w", err)
			}
			value, err := f(ctx, item)
			if err != nil {
				return err
			}
			if err := values.Encode(value); err != nil {
				return fmt.Errorf("encoding a value: %w", err)
			}
		}
		return lines.Err()
	}
}

// Map calls the function that nodes have registered under name with each item,
// spread over the mesh, and returns the values in the items' order. The
// function is one made by MapFunc from the same types. It fails with
// ErrNoCapableNode, and with ErrJobFailed when the function fails.
func Map[In, Out any](ctx context.Context, n *Node, name string, items []In) ([]Out, error) {
	path, size, err := writeItems(n, items)
	if path != "" {
		defer os.Remove(path)
	}
	if err != nil {
		return nil, err
	}
	spec := JobSpec{Name: name, Map: ProgramSpec{Kind: protocol.Func, Func: name}, Inputs: []string{path}, Split: max(1, size/mapTasks)}
	job, err := n.Submit(ctx, spec, nil)
	if err != nil {
		return nil, err
	}
	if _, err := n.Wait(ctx, job, nil); err != nil {
		return nil, err
	}
	var result bytes.Buffer
	if _, err := n.Result(ctx, job, &result); err != nil {
		return nil, err
	}
	values := make([]Out, 0, len(items))
	for decoder := json.NewDecoder(&result); decoder.More(); {
		var v Out
		if err := decoder.Decode(&v); err != nil {
			return nil, fmt.Errorf("decoding a value: %w", err)
		}
		values = append(values, v)
	}
	if len(values) != len(items) {
		return nil, fmt.Errorf("%w: %d values for %d items; function %q must be made by MapFunc", ErrJobFailed, len(values), len(items), name)
	}
	return values, nil
}

// mapTasks is into about how many tasks Map cuts its items.
const mapTasks = 64

// writeItems writes items as lines to a scratch file.
func writeItems[In any](n *Node, items []In) (path string, size int64, err error) {
	f, err := n.scratchFile("items-")
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	values := json.NewEncoder(out)
	for _, item := range items {
		if err := values.Encode(item); err != nil {
			return f.Name(), 0, fmt.Errorf("%w: encoding an item: %w", ErrInput, err)
		}
	}
	if err := out.Flush(); err != nil {
		return f.Name(), 0, fmt.Errorf("writing items: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return f.Name(), 0, fmt.Errorf("writing items: %w", err)
	}
	return f.Name(), info.Size(), nil
}
