package guest

import (
	"cmp"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// fileSystem shows a program's files, flat and read-only, to a wasm module.
// Only these names can be opened: a mounted folder would let a module climb out
// of it. What differs between machines (times, owners, order) is left out.
type fileSystem struct{ files []File } // sorted by name

func newFileSystem(files []File) fs.FS {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return fileSystem{files}
}

func (f fileSystem) Open(name string) (fs.File, error) {
	if name == "." {
		return &rootFolder{files: f.files}, nil
	}
	i, ok := slices.BinarySearchFunc(f.files, name, func(f File, name string) int { return cmp.Compare(f.Name, name) })
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	file, err := os.Open(f.files[i].Path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return laidFile{file, f.files[i]}, nil
}

// laidFile is a file under its name in the program's folder.
type laidFile struct {
	*os.File
	laid File
}

func (f laidFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return fileInfo{f.laid, info.Size()}, nil
}

type fileInfo struct {
	File
	size int64
}

func (i fileInfo) Name() string       { return i.File.Name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return time.Unix(0, 0) }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }
func (i fileInfo) Mode() fs.FileMode {
	if i.Exec {
		return 0o500
	}
	return 0o400
}

// rootFolder is the folder itself.
type rootFolder struct {
	files []File
	next  int
}

func (r *rootFolder) Stat() (fs.FileInfo, error) { return rootInfo{}, nil }
func (r *rootFolder) Close() error               { return nil }
func (r *rootFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: "/", Err: fs.ErrInvalid}
}

func (r *rootFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	left := r.files[r.next:]
	if n > 0 && len(left) == 0 {
		return nil, io.EOF
	}
	if n > 0 && len(left) > n {
		left = left[:n]
	}
	r.next += len(left)
	entries := make([]fs.DirEntry, 0, len(left))
	for _, f := range left {
		info, err := os.Stat(f.Path)
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: f.Name, Err: fs.ErrNotExist}
		}
		entries = append(entries, fs.FileInfoToDirEntry(fileInfo{f, info.Size()}))
	}
	return entries, nil
}

type rootInfo struct{}

func (rootInfo) Name() string       { return "." }
func (rootInfo) Size() int64        { return 0 }
func (rootInfo) ModTime() time.Time { return time.Unix(0, 0) }
func (rootInfo) IsDir() bool        { return true }
func (rootInfo) Sys() any           { return nil }
func (rootInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o500 }
