//go:build linux

package root

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fuseDevice is how a file system is served by a process.
const fuseDevice = "/dev/fuse"

// Viewable says why no file system may be served here, if so.
func Viewable() error {
	device, err := os.OpenFile(fuseDevice, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return device.Close()
}

// view mounts at a path what is served by the descriptor that it returns. Whoever
// looks at the path before somebody serves it waits.
func (r *Root) view(plan Plan, view View) (*os.File, error) {
	if !path.IsAbs(view.Path) || path.Clean(view.Path) != view.Path || view.Path == "/" {
		return nil, fmt.Errorf("the path %q is not one to mount at", view.Path)
	}
	target, err := r.mountPoint(plan, view.Path, !view.File)
	if err != nil {
		return nil, err
	}
	// By this process: a mount is of the user namespace that opened it.
	device, err := os.OpenFile(fuseDevice, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	mode := unix.S_IFDIR
	if view.File {
		mode = unix.S_IFREG
	}
	// allow_other is for the stage's other users, where root has any; nobody
	// outside the user namespace may look in. The kernel asks for no more than
	// max_read at a time.
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,allow_other,max_read=%d", device.Fd(), mode, os.Getuid(), os.Getgid(), maxRead)
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if !view.Writable {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("understudy", target, "fuse.understudy", flags, options); err != nil {
		device.Close()
		return nil, fmt.Errorf("mounting at %s: %w", target, err)
	}
	return device, nil
}

// maxRead is the kernel's greatest read, in bytes.
const maxRead = 1 << 20

// bind has something of the host seen at another path, too.
func (r *Root) bind(plan Plan, bound Bound) error {
	info, err := os.Stat(bound.From)
	if err != nil {
		return err
	}
	if !path.IsAbs(bound.To) || path.Clean(bound.To) != bound.To || bound.To == "/" {
		return fmt.Errorf("the path %q is not one to mount at", bound.To)
	}
	target, err := r.mountPoint(plan, bound.To, info.IsDir())
	if err != nil {
		return err
	}
	if err := unix.Mount(bound.From, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting at %s: %w", target, err)
	}
	return nil
}

// hide makes a path of the host's unreadable: a folder is empty, a file nobody's.
func (r *Root) hide(at string) error {
	ancestor, missing, err := resolve(at)
	if err != nil || len(missing) > 0 {
		return nil //nolint:nilerr // what does not resolve cannot be read either
	}
	info, err := os.Lstat(ancestor)
	if err != nil {
		return nil //nolint:nilerr // gone in between
	}
	name := emptyName
	if !info.IsDir() {
		if name, err = r.content.addNothing(); err != nil {
			return err
		}
	}
	if err := unix.Mount(filepath.Join(scratch, name), ancestor, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting at %s: %w", ancestor, err)
	}
	return readOnly(ancestor)
}
