package view

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

const (
	// fresh is how long what was said of a file holds, that it is not there too.
	fresh = time.Second
	// patience with a pod that is out of reach, before a request fails with
	// ETIMEDOUT.
	patience = 15 * time.Second
	// blockSize is the most that is read at a time, in bytes.
	blockSize = tunnel.MaxRead
)

// Options of a view.
type Options struct {
	// Path at which it is mounted in the stage.
	Path string
	// Root is what is there: a folder, or a single file.
	Root tunnel.FileInfo
	Pod  Files
	Line Line
	// Writer changes the pod's files, where the Line lets it; nil for never.
	Writer Writer
	// Log is for what no user is told. Default: discarded.
	Log *slog.Logger
}

// View is one that is served until its mount is gone.
type View struct {
	options Options
	here    Files
	life    context.Context
	end     context.CancelFunc
	server  *fuse.Server
	numbers numbers
}

// Serve serves a mount that was made with this descriptor of /dev/fuse, which it
// takes over.
func Serve(device *os.File, options Options) (*View, error) {
	defer device.Close()
	fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("taking over a mount: %w", err)
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	v := &View{options: options, here: Machine{}}
	v.life, v.end = context.WithCancel(context.Background())
	timeout := fresh
	root := &node{view: v, path: options.Path}
	raw := fs.NewNodeFS(root, &fs.Options{
		EntryTimeout: &timeout, AttrTimeout: &timeout, NegativeTimeout: &timeout, NullPermissions: true,
		RootStableAttr: &fs.StableAttr{Ino: numberOf(options.Path, 0)},
		Logger:         slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
	})
	v.server, err = fuse.NewServer(rooted{raw, options.Root.Mode & unix.S_IFMT}, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		MaxWrite: blockSize, MaxReadAhead: blockSize, DisableXAttrs: true, DisableReadDirPlus: false,
		Logger: slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
	})
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("serving %s: %w", options.Path, err)
	}
	go v.server.Serve()
	return v, nil
}

// rooted has the kind of file at the root that there is: the library knows of
// folders alone.
type rooted struct {
	fuse.RawFileSystem
	kind uint32
}

// GetAttr says what a file is.
func (r rooted) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	status := r.RawFileSystem.GetAttr(cancel, in, out)
	if in.NodeId == fuse.FUSE_ROOT_ID {
		out.Mode = out.Mode&^unix.S_IFMT | r.kind
	}
	return status
}

// SetAttr changes what a file is.
func (r rooted) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	status := r.RawFileSystem.SetAttr(cancel, in, out)
	if in.NodeId == fuse.FUSE_ROOT_ID {
		out.Mode = out.Mode&^unix.S_IFMT | r.kind
	}
	return status
}

// Close answers every request that waits, and all that come, with an error. The
// mount is gone when the last process of the stage is.
func (v *View) Close() { v.end() }

// within is how long one request may take.
func (v *View) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	stop := context.AfterFunc(v.life, cancel)
	return ctx, func() { stop(); cancel() }
}
