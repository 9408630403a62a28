package view

import (
	"context"
	"errors"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// node is one path of a view.
type node struct {
	fs.Inode
	view *View

	mu sync.Mutex
	// path of the view; another one after a rename.
	path string
	// listed is what was in this folder at a time.
	listed   map[string]tunnel.FileInfo
	listedAt time.Time
	// opened is what this file was when the kernel last began to keep its content.
	opened tunnel.FileInfo
}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
	_ fs.NodeAccesser   = (*node)(nil)
)

// files are whose place is not nowhere.
func (v *View) files(place Place) Files {
	if place == Here {
		return v.here
	}
	return v.options.Pod
}

// look says what is at a path of the view. A folder counts that is only at the
// other place, where something below it may be of this one.
func (v *View) look(ctx context.Context, name string) (tunnel.FileInfo, error) {
	if name == v.options.Path && !v.writable(name) {
		return v.options.Root, nil
	}
	at, place := v.options.Line.Of(name)
	if place == Nowhere {
		return tunnel.FileInfo{}, unix.ENOENT
	}
	info, err := v.files(place).Look(ctx, at)
	if !errors.Is(err, unix.ENOENT) || !v.options.Line.Mixed {
		return info, err
	}
	other, otherErr := v.files(Here-place).Look(ctx, name)
	if otherErr == nil && other.Mode&unix.S_IFMT == unix.S_IFDIR {
		return other, nil
	}
	return info, err
}

// list is what is in a folder of the view, by name.
func (v *View) list(ctx context.Context, name string) (map[string]tunnel.FileInfo, error) {
	at, place := v.options.Line.Of(name)
	if place == Nowhere {
		return nil, unix.ENOENT
	}
	places := []Place{place}
	if v.options.Line.Mixed {
		places = append(places, Here-place)
	}
	found, one, failed := map[string]tunnel.FileInfo{}, false, error(nil)
	for i, from := range places {
		if i > 0 {
			at = name
		}
		entries, err := v.files(from).List(ctx, at)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT) && failed != nil:
		case errors.Is(err, unix.ENOENT):
			failed = err
		default: // half a folder would be taken for all of it
			return nil, err
		}
		for _, entry := range entries {
			_, whose := v.options.Line.Of(path.Join(name, string(entry.Name)))
			folder := entry.Mode&unix.S_IFMT == unix.S_IFDIR && v.options.Line.Mixed && whose != Nowhere
			if _, known := found[string(entry.Name)]; whose == from || folder && !known {
				found[string(entry.Name)] = entry.FileInfo
			}
		}
		one = one || err == nil
	}
	if one {
		return found, nil
	}
	return nil, failed
}

// fill is what the kernel is told of a file. Whoever asks owns it: what may be
// read is decided in the pod.
func fill(info tunnel.FileInfo, out *fuse.Attr) {
	out.Mode, out.Size = info.Mode, uint64(max(info.Size, 0))
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = blockSize
	out.Nlink = 1
	out.Mtime, out.Mtimensec = uint64(max(info.Modified, 0)/1e9), uint32(max(info.Modified, 0)%1e9)
	out.Ctime, out.Ctimensec, out.Atime, out.Atimensec = out.Mtime, out.Mtimensec, out.Mtime, out.Mtimensec
	out.Uid, out.Gid = uint32(os.Getuid()), uint32(os.Getgid())
}

// at is the node's path now.
func (n *node) at() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.path
}

// known is what was said of a name in this folder a moment ago.
func (n *node) known(name string) (info tunnel.FileInfo, there, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listed == nil || time.Since(n.listedAt) > fresh {
		n.listed = nil
		return tunnel.FileInfo{}, false, false
	}
	info, there = n.listed[name]
	return info, there, !there || info.Mode != 0
}

// Lookup finds a name in a folder.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child := path.Join(n.at(), name)
	info, there, known := n.known(name)
	if known && !there {
		return nil, unix.ENOENT
	}
	if !known {
		ctx, cancel := n.view.within(ctx)
		defer cancel()
		var err error
		if info, err = n.view.look(ctx, child); err != nil {
			return nil, errno(ctx, err)
		}
	}
	fill(info, &out.Attr)
	return n.child(ctx, name, info.Mode), 0
}

// child is the node of a name in this folder: the one that the kernel knows, or a
// new one.
func (n *node) child(ctx context.Context, name string, mode uint32) *fs.Inode {
	kind := mode & unix.S_IFMT
	if known := n.GetChild(name); known != nil && known.StableAttr().Mode == kind {
		return known
	}
	return n.fresh(ctx, name, mode)
}

// fresh is a new node of a name in this folder.
func (n *node) fresh(ctx context.Context, name string, mode uint32) *fs.Inode {
	at, kind := path.Join(n.at(), name), mode&unix.S_IFMT
	return n.NewInode(ctx, &node{view: n.view, path: at}, n.view.numbers.of(at, kind))
}

// Getattr says what the file is.
func (n *node) Getattr(ctx context.Context, of fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	ctx, cancel := n.view.within(ctx)
	defer cancel()
	info, err := n.view.look(ctx, n.at())
	if open, ok := of.(*handle); ok && errors.Is(err, unix.ENOENT) && open.written != nil {
		info, err = open.last(), nil // it was removed, and is open
	}
	if err != nil {
		return errno(ctx, err)
	}
	if !n.IsRoot() && info.Mode&unix.S_IFMT != n.StableAttr().Mode {
		return unix.ESTALE // another kind of file has the name
	}
	fill(info, &out.Attr)
	return 0
}

// Access decides by the mode, as far as anybody here can: the pod has the last
// word.
func (n *node) Access(ctx context.Context, mask uint32) syscall.Errno {
	at := n.at()
	if mask&unix.W_OK != 0 && !n.view.writable(at) {
		return unix.EROFS
	}
	if mask&(unix.X_OK|unix.W_OK) == 0 {
		return 0
	}
	ctx, cancel := n.view.within(ctx)
	defer cancel()
	info, err := n.view.look(ctx, at)
	switch {
	case err != nil:
		return errno(ctx, err)
	case mask&unix.X_OK != 0 && info.Mode&0o111 == 0, mask&unix.W_OK != 0 && info.Mode&0o222 == 0:
		return unix.EACCES
	}
	return 0
}

// Readdir lists a folder, and remembers what it has seen: each name is looked up
// next.
func (n *node) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	ctx, cancel := n.view.within(ctx)
	defer cancel()
	at := n.at()
	listed, err := n.view.list(ctx, at)
	if err != nil {
		return nil, errno(ctx, err)
	}
	n.mu.Lock()
	n.listed, n.listedAt = listed, time.Now()
	n.mu.Unlock()
	entries := make([]fuse.DirEntry, 0, len(listed))
	for name, info := range listed {
		kind := info.Mode & unix.S_IFMT
		number := numberOf(path.Join(at, name), kind)
		if known := n.GetChild(name); known != nil {
			number = known.StableAttr().Ino
		}
		entries = append(entries, fuse.DirEntry{Name: name, Mode: kind, Ino: number})
	}
	return fs.NewListDirStream(entries), 0
}

// Readlink is where a link leads to; the kernel follows it in the stage.
func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	ctx, cancel := n.view.within(ctx)
	defer cancel()
	info, err := n.view.look(ctx, n.at())
	if err != nil {
		return nil, errno(ctx, err)
	}
	return info.Target, 0
}

// Statfs says how full the file system is.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	ctx, cancel := n.view.within(ctx)
	defer cancel()
	at, place := n.view.options.Line.Of(n.at())
	if place == Nowhere {
		return unix.ENOENT
	}
	space, err := n.view.files(place).Space(ctx, at)
	if err != nil {
		return errno(ctx, err)
	}
	out.Bsize, out.Frsize, out.NameLen = space.BlockSize, space.BlockSize, 255
	out.Blocks, out.Bfree, out.Bavail, out.Files, out.Ffree = space.Blocks, space.Free, space.Available, space.Files, space.FreeFiles
	return 0
}

// Open opens a regular file. The kernel keeps what it has of a file that is as it
// was.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	name := n.at()
	writes := flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0
	if writes && !n.view.writable(name) {
		return nil, 0, unix.EROFS
	}
	ctx, cancel := n.view.within(ctx)
	defer cancel()
	at, place := n.view.options.Line.Of(name)
	if place == Nowhere {
		return nil, 0, unix.ENOENT
	}
	handle := &handle{node: n, view: n.view, files: n.view.files(place), path: at}
	if writes {
		return n.openWritten(ctx, handle, flags)
	}
	if err := handle.open(ctx); err != nil {
		return nil, 0, errno(ctx, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	info := handle.file.Info()
	info.Target = nil
	keep := uint32(0)
	if same(info, n.opened) {
		keep = fuse.FOPEN_KEEP_CACHE
	}
	n.opened = info
	return handle, keep, 0
}

// same says that a file has not changed, nor another taken its name.
func same(a, b tunnel.FileInfo) bool {
	return a.Mode == b.Mode && a.Size == b.Size && a.Modified == b.Modified && a.Inode == b.Inode
}

// errno is what the process is told.
func errno(ctx context.Context, err error) syscall.Errno {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, tunnel.ErrTimeout):
		return unix.ETIMEDOUT
	case ctx.Err() != nil:
		return unix.EINTR
	case errors.Is(err, tunnel.ErrNoFiles):
		return unix.EOPNOTSUPP
	case errors.Is(err, tunnel.ErrClosed):
		return unix.ENOTCONN
	case errors.Is(err, tunnel.ErrBusy):
		return unix.EMFILE
	}
	return unix.EIO
}
