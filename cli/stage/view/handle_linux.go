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
	view  *View
	files Files
	path  string

	mu   sync.Mutex
	file File
	// block is what was read last, from blockAt on, and next how much more is
	// to be read when it is used up.
	block   []byte
	blockAt int64
	next    int
}

var (
	_ fs.FileReader   = (*handle)(nil)
	_ fs.FileReleaser = (*handle)(nil)
)

func (h *handle) open(ctx context.Context) (err error) {
	h.file, err = h.files.OpenFile(ctx, h.path)
	return err
}

// Read reads from an offset on; less only at the end.
func (h *handle) Read(ctx context.Context, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	ctx, cancel := h.view.within(ctx)
	defer cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
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
	_ = h.file.Close() // it was read only
	h.block = nil
	return 0
}
