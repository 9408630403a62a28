package root

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// permissions are the bits of a mode that may be given.
const permissions = 0o7777

// parent opens the folder that a name is in, as what it resolves to within the
// root. The name's last part is for calls that follow no link.
func (r rooted) parent(name string) (folder int, base string, err error) {
	clean := path.Clean("/" + name)
	if clean == "/" {
		return -1, "", &fs.PathError{Op: "open", Path: name, Err: unix.EBUSY}
	}
	if folder, err = r.locate(path.Dir(clean), unix.O_DIRECTORY); err != nil {
		return -1, "", err
	}
	if err := writable(folder); err != nil {
		return -1, "", errors.Join(&fs.PathError{Op: "open", Path: name, Err: err}, unix.Close(folder))
	}
	return folder, path.Base(clean), nil
}

// kernels are the file systems by which the kernel itself is told things. The
// container's runtime has them read-only, or its policies forbid to write them;
// the latter are not ours.
var kernels = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true,
	unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true, unix.SELINUX_MAGIC: true, unix.SMACK_MAGIC: true, unix.BPF_FS_MAGIC: true,
	unix.EFIVARFS_MAGIC: true, unix.NSFS_MAGIC: true, unix.PSTOREFS_MAGIC: true, unix.BINFMTFS_MAGIC: true, unix.RDTGROUP_SUPER_MAGIC: true,
	configFS: true,
}

// configFS is CONFIGFS_MAGIC of Linux's fs/configfs.
const configFS = 0x62656570

// writable says that what a descriptor is of is no file of the kernel's own.
func writable(fd int) error {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return err
	}
	if kernels[stat.Type] {
		return unix.EROFS
	}
	return nil
}

// Change alters something, and says what is there then.
func (f *Files) Change(change tunnel.Change) (tunnel.FileInfo, error) { return f.change(change) }

// Write opens a regular file for writing.
func (f *Files) Write(writing tunnel.Writing) (tunnel.WrittenFile, error) {
	file, info, err := f.write(writing)
	if err != nil {
		return nil, err
	}
	return written{file, info}, nil
}

// written is one that this process has open.
type written struct {
	*os.File
	info tunnel.FileInfo
}

func (w written) Info() tunnel.FileInfo { return w.info }

// WriteAt writes all of p. The library's own refuses what is appended to.
func (w written) WriteAt(p []byte, offset int64) (int, error) {
	if err := put(w.File, p, offset); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r rooted) change(change tunnel.Change) (tunnel.FileInfo, error) {
	name := string(change.Path)
	folder, base, err := r.parent(name)
	if err != nil {
		return tunnel.FileInfo{}, err
	}
	defer unix.Close(folder)
	gone := false
	switch change.Op {
	case tunnel.ChangeMkdir:
		if err = unix.Mkdirat(folder, base, change.Mode&permissions); err == nil {
			err = r.masked(folder, base, change.Mode)
		}
	case tunnel.ChangeSymlink:
		err = unix.Symlinkat(string(change.To), folder, base)
	case tunnel.ChangeUnlink:
		err, gone = unix.Unlinkat(folder, base, 0), true
	case tunnel.ChangeRmdir:
		err, gone = unix.Unlinkat(folder, base, unix.AT_REMOVEDIR), true
	case tunnel.ChangeRename:
		err, gone = r.rename(folder, base, string(change.To), change.Keep), true
	case tunnel.ChangeChmod:
		err = r.by(folder, base, func(own string, _ unix.Stat_t) error { return unix.Fchmodat(r.own, own, change.Mode&permissions, 0) })
	case tunnel.ChangeTruncate:
		err = r.truncate(folder, base, change.Size)
	case tunnel.ChangeTouch:
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(change.Modified)}
		err = unix.UtimesNanoAt(folder, base, times, unix.AT_SYMLINK_NOFOLLOW)
	default:
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		return tunnel.FileInfo{}, &fs.PathError{Op: string(change.Op), Path: name, Err: err}
	}
	if gone {
		return tunnel.FileInfo{}, nil
	}
	return r.look(name)
}

func (r rooted) rename(folder int, base, to string, keep bool) error {
	target, name, err := r.parent(to)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	flags := uint(0)
	if keep {
		flags = unix.RENAME_NOREPLACE
	}
	return unix.Renameat2(folder, base, target, name, flags)
}

// by does something to the regular file or folder that has a name now, by its
// own descriptor.
func (r rooted) by(folder int, base string, do func(own string, stat unix.Stat_t) error) error {
	fd, err := unix.Openat(folder, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	stat, mode, err := kind(fd)
	switch {
	case err != nil:
		return err
	case mode&fs.ModeIrregular != 0:
		return unix.EOPNOTSUPP // a link, a device or a pipe
	}
	if err := writable(fd); err != nil {
		return err // one of them is mounted there
	}
	return do(strconv.Itoa(fd), stat)
}

// masked gives what was just made the permissions that were asked for: whoever
// asks has applied a umask of their own, and this process has another.
func (r rooted) masked(folder int, base string, mode uint32) error {
	return r.by(folder, base, func(own string, stat unix.Stat_t) error {
		if stat.Mode&0o777 == mode&0o777 {
			return nil
		}
		// A folder's group may have come with its parent's.
		return unix.Fchmodat(r.own, own, mode&permissions|stat.Mode&unix.S_ISGID, 0)
	})
}

func (r rooted) truncate(folder int, base string, size int64) error {
	return r.by(folder, base, func(own string, stat unix.Stat_t) error {
		if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			return unix.EISDIR
		}
		fd, err := unix.Openat(r.own, own, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Ftruncate(fd, size)
	})
}

// again is how often a file that comes and goes is tried to be had.
const again = 8

// write opens a regular file for writing, and makes it where that is asked for.
func (r rooted) write(writing tunnel.Writing) (*os.File, tunnel.FileInfo, error) {
	name := string(writing.Path)
	folder, base, err := r.parent(name)
	if err != nil {
		return nil, tunnel.FileInfo{}, err
	}
	defer unix.Close(folder)
	flags := unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOCTTY
	if writing.Append {
		flags |= unix.O_APPEND
	}
	fd := -1
	for range again {
		err = unix.ENOENT
		if !writing.Exclusive {
			fd, err = r.existing(folder, base, flags, writing.Truncate)
		}
		if writing.Create && errors.Is(err, unix.ENOENT) {
			fd, err = r.create(folder, base, flags, writing.Mode)
		}
		if err == nil || writing.Exclusive || !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	if err != nil {
		return nil, tunnel.FileInfo{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	file := os.NewFile(uintptr(fd), name)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, tunnel.FileInfo{}, errors.Join(fmt.Errorf("looking at a file: %w", err), file.Close())
	}
	return file, infoOf(stat), nil
}

// existing opens the regular file that has a name, and never a pipe or a device.
func (r rooted) existing(folder int, base string, flags int, truncate bool) (fd int, err error) {
	err = r.by(folder, base, func(own string, stat unix.Stat_t) error {
		if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			return unix.EISDIR
		}
		if truncate {
			flags |= unix.O_TRUNC
		}
		fd, err = unix.Openat(r.own, own, flags, 0)
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = unix.ENXIO
	}
	return fd, err
}

// create makes a regular file that is not there; a link of the name is EEXIST.
func (r rooted) create(folder int, base string, flags int, mode uint32) (int, error) {
	fd, err := unix.Openat(folder, base, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode&permissions)
	if err != nil {
		return -1, err
	}
	if err := unix.Fchmod(fd, mode&permissions); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// put writes all of p, at its place or at the end of a file that is appended to.
func put(file *os.File, p []byte, offset int64) error {
	fd := int(file.Fd())
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, offset)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.EIO
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}
