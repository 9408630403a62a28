package view

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// Machine is this machine's own files, read as the user.
type Machine struct{}

var _ Files = Machine{}

// Look says what is at a path.
func (Machine) Look(_ context.Context, path string) (tunnel.FileInfo, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return tunnel.FileInfo{}, err
	}
	info := tunnel.FileInfo{Mode: stat.Mode, Size: stat.Size, Modified: stat.Mtim.Nano(), Inode: stat.Ino}
	if stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := os.Readlink(path)
		if err != nil {
			return tunnel.FileInfo{}, err
		}
		info.Target = []byte(target)
	}
	return info, nil
}

// List returns what is in a folder.
func (m Machine) List(ctx context.Context, path string) ([]tunnel.Entry, error) {
	folder, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var entries []tunnel.Entry
	for _, name := range names {
		info, err := m.Look(ctx, filepath.Join(path, name))
		if err == nil {
			entries = append(entries, tunnel.Entry{Name: []byte(name), FileInfo: info})
		}
	}
	return entries, nil
}

// OpenFile opens a regular file; a pipe would be waited for.
func (Machine) OpenFile(_ context.Context, path string) (File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		file.Close()
		return nil, unix.ENXIO
	}
	return ownFile{file, tunnel.FileInfo{Mode: stat.Mode, Size: stat.Size, Modified: stat.Mtim.Nano(), Inode: stat.Ino}}, nil
}

// Space says how full the file system is.
func (Machine) Space(_ context.Context, path string) (tunnel.Space, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return tunnel.Space{}, err
	}
	return tunnel.Space{
		BlockSize: uint32(stat.Bsize), Blocks: stat.Blocks, Free: stat.Bfree, Available: stat.Bavail, Files: stat.Files, FreeFiles: stat.Ffree,
	}, nil
}

type ownFile struct {
	*os.File
	info tunnel.FileInfo
}

func (f ownFile) Info() tunnel.FileInfo { return f.info }

func (f ownFile) Read(_ context.Context, p []byte, offset int64) (int, error) {
	n, err := f.ReadAt(p, offset)
	if n == len(p) && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
