package root

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// Files is this process's own root, read as another container's is.
type Files struct{ rooted }

// Here opens this process's own root. The error says that this kernel cannot
// resolve paths as it must.
func Here() (*Files, error) { return at("/") }

// at opens a folder as a root.
func at(dir string) (*Files, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root: %w", err)
	}
	own, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(root)
		return nil, fmt.Errorf("opening our own descriptors: %w", err)
	}
	f := &Files{rooted{root: root, own: own}}
	if _, err := f.look("/"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Without is the same root but for a folder, which nothing leads to.
func (f *Files) Without(folder string) *Files {
	other := *f
	if other.except = ""; folder != "" {
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folder = real
		}
		other.except = folder
	}
	return &other
}

// Close closes the root.
func (f *Files) Close() error { return errors.Join(unix.Close(f.root), unix.Close(f.own)) }

// Look says what is at a path; a link is not followed.
func (f *Files) Look(path string) (tunnel.FileInfo, error) { return f.look(path) }

// List hands over what is in a folder.
func (f *Files) List(path string, each func(tunnel.Entry) error) error { return f.list(path, each) }

// Space says how full a file system is.
func (f *Files) Space(path string) (tunnel.Space, error) { return f.space(path) }

// Open opens a regular file for reading.
func (f *Files) Open(path string) (*os.File, tunnel.FileInfo, error) { return f.regular(path) }

// infoOf is a file as the tunnel has it.
func infoOf(stat unix.Stat_t) tunnel.FileInfo {
	return tunnel.FileInfo{Mode: stat.Mode, Size: stat.Size, Modified: stat.Mtim.Nano(), Inode: stat.Ino}
}

// look says what is at a path, with the target of a link.
func (r rooted) look(name string) (tunnel.FileInfo, error) {
	fd, err := r.locate(name, unix.O_NOFOLLOW)
	if err != nil {
		return tunnel.FileInfo{}, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return tunnel.FileInfo{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	info := infoOf(stat)
	if stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		target := make([]byte, maxLink)
		n, err := unix.Readlinkat(fd, "", target)
		if err != nil {
			return tunnel.FileInfo{}, &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		info.Target = target[:n]
	}
	return info, nil
}

// listStep names are read of a folder at a time.
const listStep = 512

// list hands over what is in a folder, in no order. What is gone when it is
// looked at is left out; of what may not be looked at there is the name alone.
func (r rooted) list(name string, each func(tunnel.Entry) error) error {
	folder, _, mode, err := r.open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	if !mode.IsDir() {
		return &fs.PathError{Op: "list", Path: name, Err: unix.ENOTDIR}
	}
	for {
		names, err := folder.Readdirnames(listStep)
		for _, entry := range names {
			info, err := r.look(path.Join(name, entry))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				info = tunnel.FileInfo{}
			}
			if err := each(tunnel.Entry{Name: []byte(entry), FileInfo: info}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &fs.PathError{Op: "list", Path: name, Err: err}
		}
	}
}

// regular opens a regular file for reading, and never a pipe or a device.
func (r rooted) regular(name string) (*os.File, tunnel.FileInfo, error) {
	file, stat, mode, err := r.open(name)
	switch {
	case errors.Is(err, errIrregular):
		return nil, tunnel.FileInfo{}, &fs.PathError{Op: "open", Path: name, Err: unix.ENXIO}
	case err != nil:
		return nil, tunnel.FileInfo{}, err
	case mode.IsDir():
		file.Close()
		return nil, tunnel.FileInfo{}, &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	}
	return file, infoOf(stat), nil
}

// space says how full the file system of a path is.
func (r rooted) space(name string) (tunnel.Space, error) {
	fd, err := r.locate(name, 0)
	if err != nil {
		return tunnel.Space{}, err
	}
	defer unix.Close(fd)
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return tunnel.Space{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return tunnel.Space{
		BlockSize: uint32(stat.Bsize), Blocks: stat.Blocks, Free: stat.Bfree, Available: stat.Bavail,
		Files: stat.Files, FreeFiles: stat.Ffree,
	}, nil
}

// part reads some bytes of a regular file that must still be the one that was
// opened as opened.
func (r rooted) part(name string, opened tunnel.FileInfo, offset int64, length int) ([]byte, error) {
	file, now, err := r.regular(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if now.Inode != opened.Inode {
		return nil, &fs.PathError{Op: "read", Path: name, Err: unix.ESTALE}
	}
	data := make([]byte, min(length, maxPart))
	n, err := file.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data[:n], nil
}
