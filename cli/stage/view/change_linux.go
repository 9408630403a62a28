package view

import (
	"context"
	"os"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

var (
	_ fs.NodeCreater     = (*node)(nil)
	_ fs.NodeMkdirer     = (*node)(nil)
	_ fs.NodeSymlinker   = (*node)(nil)
	_ fs.NodeUnlinker    = (*node)(nil)
	_ fs.NodeRmdirer     = (*node)(nil)
	_ fs.NodeRenamer     = (*node)(nil)
	_ fs.NodeLinker      = (*node)(nil)
	_ fs.NodeMknoder     = (*node)(nil)
	_ fs.NodeSetattrer   = (*node)(nil)
	_ fs.NodeFsyncer     = (*node)(nil)
	_ fs.NodeOnForgetter = (*node)(nil)
)

// writable says whether a path of the view may be written.
func (v *View) writable(name string) bool {
	line := v.options.Line
	if v.options.Writer == nil || line.Writable == nil {
		return false
	}
	_, place := line.Of(name)
	return place == Pod && line.Writable(name)
}

// change alters the pod's file at a path of the view.
func (v *View) change(ctx context.Context, name string, change tunnel.Change) (tunnel.FileInfo, syscall.Errno) {
	if !v.writable(name) {
		return tunnel.FileInfo{}, unix.EROFS
	}
	ctx, cancel := v.within(ctx)
	defer cancel()
	at, _ := v.options.Line.Of(name)
	change.Path = []byte(at)
	info, err := v.options.Writer.Change(ctx, change)
	if err != nil {
		return tunnel.FileInfo{}, errno(ctx, err)
	}
	return info, 0
}

// changed forgets what was in this folder.
func (n *node) changed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listed = nil
}

// openWritten opens a file for writing, and for reading too where that is asked
// for.
func (n *node) openWritten(ctx context.Context, handle *handle, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	writing := tunnel.Writing{Path: []byte(handle.path), Truncate: flags&unix.O_TRUNC != 0, Append: flags&unix.O_APPEND != 0}
	if err := handle.openFor(ctx, writing, flags); err != nil {
		return nil, 0, errno(ctx, err)
	}
	return handle, 0, 0
}

// Create makes a file, or opens the one that somebody else has just made.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child := path.Join(n.at(), name)
	if !n.view.writable(child) {
		return nil, nil, 0, unix.EROFS
	}
	within, cancel := n.view.within(ctx)
	defer cancel()
	at, _ := n.view.options.Line.Of(child)
	handle := &handle{view: n.view, files: n.view.options.Pod, path: at}
	err := handle.openFor(within, tunnel.Writing{
		Path: []byte(at), Create: true, Exclusive: flags&unix.O_EXCL != 0, Mode: mode & 0o7777,
		Truncate: flags&unix.O_TRUNC != 0, Append: flags&unix.O_APPEND != 0,
	}, flags)
	n.changed()
	if err != nil {
		return nil, nil, 0, errno(within, err)
	}
	info := handle.written.Info()
	fill(info, &out.Attr)
	made := n.fresh(ctx, name, info.Mode)
	handle.node = made.Operations().(*node) // as it was made
	return made, handle, 0, 0
}

// make makes something in this folder.
func (n *node) make(ctx context.Context, name string, change tunnel.Change, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	info, failed := n.view.change(ctx, path.Join(n.at(), name), change)
	n.changed()
	if failed != 0 {
		return nil, failed
	}
	fill(info, &out.Attr)
	return n.fresh(ctx, name, info.Mode), 0
}

// Mkdir makes a folder.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, tunnel.Change{Op: tunnel.ChangeMkdir, Mode: mode & 0o7777}, out)
}

// Symlink makes a link.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, tunnel.Change{Op: tunnel.ChangeSymlink, To: []byte(target)}, out)
}

// refused is what cannot be made here: a second name of a file, a pipe, a device.
func (n *node) refused(name string) syscall.Errno {
	if !n.view.writable(path.Join(n.at(), name)) {
		return unix.EROFS
	}
	return unix.EPERM
}

// Link refuses a second name.
func (n *node) Link(_ context.Context, _ fs.InodeEmbedder, name string, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, n.refused(name)
}

// Mknod refuses what is no file.
func (n *node) Mknod(_ context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, n.refused(name)
}

// Unlink removes what is no folder.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.remove(ctx, name, tunnel.ChangeUnlink)
}

// Rmdir removes an empty folder.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.remove(ctx, name, tunnel.ChangeRmdir)
}

func (n *node) remove(ctx context.Context, name string, op tunnel.ChangeOp) syscall.Errno {
	_, failed := n.view.change(ctx, path.Join(n.at(), name), tunnel.Change{Op: op})
	n.changed()
	if failed == 0 {
		n.view.leave(n.GetChild(name)) // somebody may have it open
	}
	return failed
}

// leave has a node that goes on keep its number for itself.
func (v *View) leave(of *fs.Inode) {
	if of != nil {
		v.numbers.keep(of.StableAttr().Ino)
	}
}

// OnForget is when the kernel knows the node no more.
func (n *node) OnForget() { n.view.numbers.free(n.StableAttr().Ino) }

// Rename gives something another name.
func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	folder, ok := newParent.(*node)
	if !ok || flags&^unix.RENAME_NOREPLACE != 0 {
		return unix.EINVAL
	}
	from, to := path.Join(n.at(), name), path.Join(folder.at(), newName)
	if !n.view.writable(to) {
		return unix.EROFS
	}
	at, _ := n.view.options.Line.Of(to)
	_, failed := n.view.change(ctx, from, tunnel.Change{Op: tunnel.ChangeRename, To: []byte(at), Keep: flags&unix.RENAME_NOREPLACE != 0})
	n.changed()
	folder.changed()
	if failed != 0 {
		return failed
	}
	n.view.leave(folder.GetChild(newName))
	if moved := n.GetChild(name); moved != nil {
		n.view.leave(moved)
		move(moved, to)
	}
	return 0
}

// move has a node, and all below it, be at another path.
func move(of *fs.Inode, to string) {
	if n, ok := of.Operations().(*node); ok {
		n.mu.Lock()
		n.path, n.listed = to, nil
		n.mu.Unlock()
	}
	for name, child := range of.Children() {
		move(child, path.Join(to, name))
	}
}

// Setattr changes a file's mode, size or time. Whoever looks owns all files, and
// gives none away.
func (n *node) Setattr(ctx context.Context, of fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	at := n.at()
	if !n.view.writable(at) {
		return unix.EROFS
	}
	if uid, ok := in.GetUID(); ok && uid != uint32(os.Getuid()) {
		return unix.EPERM
	}
	if gid, ok := in.GetGID(); ok && gid != uint32(os.Getgid()) {
		return unix.EPERM
	}
	if mode, ok := in.GetMode(); ok {
		if _, failed := n.view.change(ctx, at, tunnel.Change{Op: tunnel.ChangeChmod, Mode: mode}); failed != 0 {
			return failed
		}
	}
	if size, ok := in.GetSize(); ok {
		if _, failed := n.view.change(ctx, at, tunnel.Change{Op: tunnel.ChangeTruncate, Size: int64(size)}); failed != 0 {
			return failed
		}
	}
	if modified, ok := in.GetMTime(); ok {
		if _, failed := n.view.change(ctx, at, tunnel.Change{Op: tunnel.ChangeTouch, Modified: modified.UnixNano()}); failed != 0 {
			return failed
		}
	}
	n.written()
	return n.Getattr(ctx, of, out)
}

// written forgets what the file was: what its folder knows of it, and what the
// kernel may keep when it is opened next.
func (n *node) written() {
	n.mu.Lock()
	n.opened = tunnel.FileInfo{}
	n.mu.Unlock()
	if _, parent := n.Parent(); parent != nil {
		if folder, ok := parent.Operations().(*node); ok {
			folder.changed()
		}
	}
}

// Fsync is of a file's handle; a folder's names are in the pod already.
func (n *node) Fsync(ctx context.Context, of fs.FileHandle, flags uint32) syscall.Errno {
	if file, ok := of.(fs.FileFsyncer); ok {
		return file.Fsync(ctx, flags)
	}
	return 0
}
