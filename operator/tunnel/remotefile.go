package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// openFiles opens a stream that asks about a file.
func (c *Client) openFiles(ctx context.Context, kind Kind, path string, answer any) (*mux.Stream, error) {
	if len(path) > MaxPath {
		return nil, syscall.ENAMETOOLONG
	}
	stream, err := c.open(ctx, kind, lookAt{Path: []byte(path)}, answer)
	if errors.Is(err, ErrProtocol) {
		// So an agent answers that does not know of files.
		return nil, fmt.Errorf("%w: %w", ErrNoFiles, err)
	}
	return stream, err
}

// Look says what is at a path of the container; a link is not followed. Errors
// about files are syscall's own; ErrNoFiles where the agent reads none.
func (c *Client) Look(ctx context.Context, path string) (FileInfo, error) {
	var info FileInfo
	stream, err := c.openFiles(ctx, kindLook, path, &info)
	if err != nil {
		return FileInfo{}, fmt.Errorf("looking at %s of the pod: %w", path, err)
	}
	return info, stream.Close()
}

// Space says how full the file system of a path is.
func (c *Client) Space(ctx context.Context, path string) (Space, error) {
	var space Space
	stream, err := c.openFiles(ctx, kindSpace, path, &space)
	if err != nil {
		return Space{}, fmt.Errorf("measuring %s of the pod: %w", path, err)
	}
	return space, stream.Close()
}

// List returns what is in a folder of the container.
func (c *Client) List(ctx context.Context, path string) ([]Entry, error) {
	stream, err := c.openFiles(ctx, kindList, path, nil)
	if err != nil {
		return nil, fmt.Errorf("listing %s of the pod: %w", path, err)
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Reset(mux.CodeCanceled) })()
	entries, err := readEntries(stream)
	if err != nil {
		return nil, fmt.Errorf("listing %s of the pod: %w", path, fileError(ctx, stream, err))
	}
	return entries, nil
}

// fileError is what a stream about files has come to.
func fileError(ctx context.Context, stream *mux.Stream, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, lost := errors.AsType[*mux.ResetError](err); lost || stream.Err() != nil {
		return streamError(err)
	}
	return err
}

// RemoteFile is an open file of the container. All methods may be used at the
// same time; one question is asked after the other.
type RemoteFile struct {
	stream *mux.Stream
	info   FileInfo

	asking sync.Mutex
	lost   bool
}

// OpenFile opens a regular file of the container for reading.
func (c *Client) OpenFile(ctx context.Context, path string) (*RemoteFile, error) {
	f := &RemoteFile{}
	stream, err := c.openFiles(ctx, kindRead, path, &f.info)
	if err != nil {
		return nil, fmt.Errorf("opening %s of the pod: %w", path, err)
	}
	f.stream = stream
	return f, nil
}

// Info of the file when it was opened.
func (f *RemoteFile) Info() FileInfo { return f.info }

// Read reads from an offset on, with io.EOF where the file ends before p does. After
// an error that is not the file's own (ErrLost) the file is of no more use.
func (f *RemoteFile) Read(ctx context.Context, p []byte, offset int64) (int, error) {
	f.asking.Lock()
	defer f.asking.Unlock()
	total := 0
	for total < len(p) {
		n, err := f.ask(ctx, p[total:min(len(p), total+MaxRead)], offset+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (f *RemoteFile) ask(ctx context.Context, p []byte, offset int64) (int, error) {
	if f.lost {
		return 0, ErrLost
	}
	stop := context.AfterFunc(ctx, func() { f.stream.Reset(mux.CodeCanceled) })
	defer stop()
	_, err := f.stream.Write(question{offset: uint64(offset), length: uint32(len(p))}.encode())
	n := 0
	if err == nil {
		n, err = readAnswer(f.stream, p)
	}
	if said, ok := errors.AsType[*answered](err); ok {
		return 0, said.error
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.lost = true
		return 0, fmt.Errorf("%w: %w", ErrLost, fileError(ctx, f.stream, err))
	}
	return n, err
}

// ErrLost: what was open is so no more, as the tunnel or the agent began anew.
var ErrLost = errors.New("the file is no longer open at the agent")

// Close closes the file.
func (f *RemoteFile) Close() error { return f.stream.Close() }
