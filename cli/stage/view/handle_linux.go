package view

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// handle is an open file. Whoever reads it from the start to the end is ahead
// read for, in blocks that grow: a round trip each is what reading costs.
type handle struct {
	node  *node
	view  *View
	files Files
	path  string

	mu sync.Mutex
	// file is read, written is written; nil for what it was not opened for.
	file    File
	written Written
	// end is how far it was written.
	end int64
	// block is what was read last, from blockAt on, and next how much more is
	// to be read when it is used up.
	block   []byte
	blockAt int64
	next    int
}

var (
	_ fs.FileReader   = (*handle)(nil)
	_ fs.FileWriter   = (*handle)(nil)
	_ fs.FileFsyncer  = (*handle)(nil)
	_ fs.FileReleaser = (*handle)(nil)
)

func (h *handle) open(ctx context.Context) (err error) {
	h.file, err = h.files.OpenFile(ctx, h.path)
	return err
}

// openFor opens the file for writing, then for reading where the flags say so.
func (h *handle) openFor(ctx context.Context, writing tunnel.Writing, flags uint32) (err error) {
	if h.written, err = h.view.options.Writer.OpenWrite(ctx, writing); err != nil {
		return err
	}
	if flags&unix.O_ACCMODE == unix.O_WRONLY {
		return nil
	}
	if err = h.open(ctx); err != nil {
		return errors.Join(err, h.written.Close())
	}
	return nil
}

// writePiece is how much is written within the patience with the pod, in bytes: a
// slow line carries as much.
const writePiece = 128 << 10

// Write writes all of the data to the pod before it returns; less where it fails
// in between.
func (h *handle) Write(ctx context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.written == nil {
		return 0, unix.EBADF
	}
	h.block = h.block[:0] // what was read ahead may have changed
	defer h.node.written()
	done := 0
	for done < len(data) {
		piece := data[done:min(len(data), done+writePiece)]
		if failed := h.writePiece(ctx, piece, offset+int64(done)); failed != 0 {
			if done > 0 {
				break // the rest is tried again, and fails for itself
			}
			return 0, failed
		}
		done += len(piece)
		h.end = max(h.end, offset+int64(done))
	}
	return uint32(done), 0
}

func (h *handle) writePiece(ctx context.Context, piece []byte, offset int64) syscall.Errno {
	ctx, cancel := h.view.within(ctx)
	defer cancel()
	if err := h.written.Write(ctx, piece, offset); err != nil {
		return h.broken(ctx, err)
	}
	return 0
}

// last is what is known of a file that has no name any more.
func (h *handle) last() tunnel.FileInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := h.written.Info()
	info.Size = max(info.Size, h.end)
	return info
}

// Fsync has the pod's kernel write the file to its disk.
func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	ctx, cancel := h.view.within(ctx)
	defer cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.written == nil {
		return 0
	}
	if err := h.written.Sync(ctx); err != nil {
		return h.broken(ctx, err)
	}
	return 0
}

// broken is what the process is told of a write. One whose agent began anew is
// not tried again: nobody knows whether it was done, and a new pod has another
// file.
func (h *handle) broken(ctx context.Context, err error) syscall.Errno {
	if errors.Is(err, tunnel.ErrLost) && ctx.Err() == nil {
		return unix.ESTALE
	}
	return errno(ctx, err)
}

// Read reads from an offset on; less only at the end.
func (h *handle) Read(ctx context.Context, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	ctx, cancel := h.view.within(ctx)
	defer cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == nil {
		return nil, unix.EBADF
	}
	total := 0
	for total < len(dest) {
		at := offset + int64(total)
		if in := at - h.blockAt; in >= 0 && in < int64(len(h.block)) {
			total += copy(dest[total:], h.block[in:])
			continue
		}
		ended, err := h.fetch(ctx, at, len(dest)-total)
		if err != nil {
			return nil, errno(ctx, err)
		}
		if ended && at >= h.blockAt+int64(len(h.block)) {
			break
		}
	}
	return fuse.ReadResultData(dest[:total]), 0
}

// fetch reads the block that begins at an offset, and says whether the file ends
// with it.
func (h *handle) fetch(ctx context.Context, at int64, least int) (ended bool, err error) {
	if at == h.blockAt+int64(len(h.block)) {
		h.next = min(max(2*h.next, least), blockSize)
	} else {
		h.next = min(least, blockSize)
	}
	if cap(h.block) < h.next {
		h.block = make([]byte, h.next)
	}
	block := h.block[:h.next]
	h.block, h.blockAt = h.block[:0], at
	n, err := h.file.Read(ctx, block, at)
	if errors.Is(err, tunnel.ErrLost) && ctx.Err() == nil {
		if err = h.reopen(ctx); err == nil {
			n, err = h.file.Read(ctx, block, at)
		}
	}
	if ended = errors.Is(err, io.EOF); err != nil && !ended {
		return false, err
	}
	h.block = block[:n]
	return ended, nil
}

// reopen opens the file of another agent, if it is what it was.
func (h *handle) reopen(ctx context.Context) error {
	if h.written != nil {
		return unix.ESTALE // what was written went with the pod
	}
	before := h.file.Info()
	_ = h.file.Close() // it is lost
	again, err := h.files.OpenFile(ctx, h.path)
	if err != nil {
		return err
	}
	h.file = again
	// A new pod's file system numbers anew.
	if now := again.Info(); now.Size != before.Size || now.Modified != before.Modified {
		return unix.ESTALE
	}
	return nil
}

// Release closes the file.
func (h *handle) Release(context.Context) syscall.Errno {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		_ = h.file.Close() // it was only read
	}
	if h.written != nil {
		_ = h.written.Close() // all is written
	}
	h.block = nil
	return 0
}
