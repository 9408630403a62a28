package agent

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"understudy.dev/understudy/operator/agent/root"
	"understudy.dev/understudy/operator/tunnel"
)

// remoteFiles is the container's whole file system, read as the container: the
// agent has its place.
type remoteFiles struct {
	open func() (*root.Files, error)
}

func newRemoteFiles() *remoteFiles { return &remoteFiles{open: sync.OnceValues(root.Here)} }

var (
	_ tunnel.WriteHandler = (*pod)(nil)
	_ tunnel.WriteHandler = (*frozenPod)(nil)
)

// readsFiles says whether any file can be read: an old kernel or a sandbox may
// not resolve paths as it must.
func (p *pod) readsFiles() bool {
	_, err := p.files.open()
	if err != nil {
		p.log.Warn("no files but those of mounted volumes can be read", "error", err)
	}
	return err == nil
}

// reading is the container's root, where a path may be read.
func (p *pod) reading(path string) (*root.Files, error) {
	if path = filepath.Clean("/" + path); p.own != "" && (path == p.own || strings.HasPrefix(path, p.own+"/")) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
	}
	files, err := p.files.open()
	if err != nil || p.own == "" {
		return files, err
	}
	return files.Without(p.path(p.own)), nil
}

// Look says what is at a path.
func (p *pod) Look(_ context.Context, path string) (tunnel.FileInfo, error) {
	files, err := p.reading(path)
	if err != nil {
		return tunnel.FileInfo{}, err
	}
	return files.Look(p.path(path))
}

// List hands over what is in a folder.
func (p *pod) List(ctx context.Context, path string, each func(tunnel.Entry) error) error {
	files, err := p.reading(path)
	if err != nil {
		return err
	}
	return files.List(p.path(path), func(entry tunnel.Entry) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return each(entry)
	})
}

// Space says how full a file system is.
func (p *pod) Space(_ context.Context, path string) (tunnel.Space, error) {
	files, err := p.reading(path)
	if err != nil {
		return tunnel.Space{}, err
	}
	return files.Space(p.path(path))
}

// OpenFile opens a regular file.
func (p *pod) OpenFile(_ context.Context, path string) (tunnel.OpenedFile, error) {
	files, err := p.reading(path)
	if err != nil {
		return nil, err
	}
	file, info, err := files.Open(p.path(path))
	if err != nil {
		return nil, err
	}
	return openFile{file, info}, nil
}

// openFile is one that this process holds open.
type openFile struct {
	*os.File
	info tunnel.FileInfo
}

func (f openFile) Info() tunnel.FileInfo { return f.info }

// Change alters something of the container's, as the container could.
func (p *pod) Change(_ context.Context, change tunnel.Change) (tunnel.FileInfo, error) {
	files, err := p.reading(string(change.Path))
	if err != nil {
		return tunnel.FileInfo{}, err
	}
	change.Path = []byte(p.path(string(change.Path)))
	if change.Op == tunnel.ChangeRename {
		if _, err := p.reading(string(change.To)); err != nil {
			return tunnel.FileInfo{}, err
		}
		change.To = []byte(p.path(string(change.To)))
	}
	return files.Change(change)
}

// OpenWrite opens a regular file for writing.
func (p *pod) OpenWrite(_ context.Context, writing tunnel.Writing) (tunnel.WrittenFile, error) {
	files, err := p.reading(string(writing.Path))
	if err != nil {
		return nil, err
	}
	writing.Path = []byte(p.path(string(writing.Path)))
	return files.Write(writing)
}

// Look says what is at a path of the frozen container.
func (p *frozenPod) Look(ctx context.Context, path string) (tunnel.FileInfo, error) {
	return asked(ctx, p, func(ctx context.Context, reader *root.Reader) (tunnel.FileInfo, error) { return reader.Look(ctx, path) })
}

// List hands over what is in a folder of the frozen container.
func (p *frozenPod) List(ctx context.Context, path string, each func(tunnel.Entry) error) error {
	// Whole, before anything waits for the owner: the reader serves all.
	entries, err := asked(ctx, p, func(ctx context.Context, reader *root.Reader) ([]tunnel.Entry, error) { return reader.List(ctx, path) })
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := each(entry); err != nil {
			return err
		}
	}
	return nil
}

// Space says how full a file system of the frozen container is.
func (p *frozenPod) Space(ctx context.Context, path string) (tunnel.Space, error) {
	return asked(ctx, p, func(ctx context.Context, reader *root.Reader) (tunnel.Space, error) { return reader.Space(ctx, path) })
}

// OpenFile looks at a regular file of the frozen container; it is opened for
// each part that is read.
func (p *frozenPod) OpenFile(ctx context.Context, path string) (tunnel.OpenedFile, error) {
	info, err := asked(ctx, p, func(ctx context.Context, reader *root.Reader) (tunnel.FileInfo, error) {
		return reader.OpenFile(ctx, path)
	})
	if err != nil {
		return nil, err
	}
	return &frozenFile{pod: p, path: filepath.Clean(path), info: info}, nil
}

// asked asks who reads the container's files now, not for longer than readFor.
func asked[T any](ctx context.Context, p *frozenPod, ask func(context.Context, *root.Reader) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	reader, err := p.who()
	if err != nil {
		return *new(T), err
	}
	return ask(ctx, reader)
}

// frozenFile is a file of the frozen container.
type frozenFile struct {
	pod  *frozenPod
	path string
	info tunnel.FileInfo
}

func (f *frozenFile) Info() tunnel.FileInfo { return f.info }
func (f *frozenFile) Close() error          { return nil }

// ReadAt reads a part, which may be smaller than p where the file goes on; at
// its end there is none.
func (f *frozenFile) ReadAt(p []byte, offset int64) (int, error) {
	data, err := asked(context.Background(), f.pod, func(ctx context.Context, reader *root.Reader) ([]byte, error) {
		return reader.Part(ctx, f.path, f.info, offset, len(p))
	})
	return copy(p, data), err
}

// Change alters something of the frozen container's, as the container could.
func (p *frozenPod) Change(ctx context.Context, change tunnel.Change) (tunnel.FileInfo, error) {
	return asked(ctx, p, func(ctx context.Context, reader *root.Reader) (tunnel.FileInfo, error) {
		return reader.Change(ctx, change)
	})
}

// OpenWrite has who reads the files open one for writing.
func (p *frozenPod) OpenWrite(ctx context.Context, writing tunnel.Writing) (tunnel.WrittenFile, error) {
	file, err := asked(ctx, p, func(ctx context.Context, reader *root.Reader) (*root.Written, error) {
		return reader.Write(ctx, writing)
	})
	if err != nil {
		return nil, err
	}
	return frozenWritten{file}, nil
}

// frozenWritten is a file of the frozen container that is written. When who has
// it open has ended, it is of no more use.
type frozenWritten struct{ file *root.Written }

func (f frozenWritten) Info() tunnel.FileInfo { return f.file.Info() }

// patiently does something for as long as readFor at most.
func patiently(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), readFor)
	defer cancel()
	return do(ctx)
}

func (f frozenWritten) WriteAt(p []byte, offset int64) (int, error) {
	if err := patiently(func(ctx context.Context) error { return f.file.Put(ctx, p, offset) }); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f frozenWritten) Sync() error  { return patiently(f.file.Sync) }
func (f frozenWritten) Close() error { return patiently(f.file.Close) }
