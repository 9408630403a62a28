//go:build linux

package root

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

func (r *Root) mirrored(directory string) bool { return slices.Contains(r.mirrors, directory) }

// mirror replaces a directory by one on tmpfs in which everything is that was
// in there, each entry bound to itself, so that a mount point can be made
// beside them without touching the host's. The entry named except is left out.
func (r *Root) mirror(directory, except string) error {
	if r.mirrored(directory) {
		return remove(filepath.Join(directory, except))
	}
	if r.tmpfs(directory) {
		return nil // made for an earlier mount point: ours already
	}
	old, err := unix.Open(directory, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", directory, err)
	}
	defer unix.Close(old)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("reading what is in %s: %w", directory, err)
	}
	info, err := os.Stat(directory)
	if err != nil {
		return err
	}
	options := fmt.Sprintf("mode=%o", info.Mode().Perm())
	if err := unix.Mount("tmpfs", directory, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting over %s: %w", directory, err)
	}
	r.reflectAll(fdPath(old), directory, directory, entries, except)
	r.mirrors = append(r.mirrors, directory)
	return nil
}

func (r *Root) reflectAll(from, to, directory string, entries []os.DirEntry, except string) {
	for _, entry := range entries {
		if entry.Name() == except {
			continue
		}
		err := reflect(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()), entry.Type())
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.notice("%s is not there in the stage: %v", filepath.Join(directory, entry.Name()), err)
		}
	}
}

// mirrorRoot is mirror for the root itself, on which nothing can be mounted:
// by way of a root between the two, as nothing else can hold the old one while
// the new one is filled.
func (r *Root) mirrorRoot(except []string) error {
	const between = scratch
	if err := unix.Mount("tmpfs", between, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting a new root: %w", err)
	}
	fresh, old := filepath.Join(between, "new"), filepath.Join(between, "old")
	for _, directory := range []string{fresh, old} {
		if err := os.Mkdir(directory, 0o755); err != nil {
			return fmt.Errorf("making a new root: %w", err)
		}
	}
	if err := unix.Mount("tmpfs", fresh, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting a new root: %w", err)
	}
	if err := unix.PivotRoot(between, old); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	entries, err := os.ReadDir("/old")
	if err != nil {
		return fmt.Errorf("reading what is in the root: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(entry os.DirEntry) bool { return slices.Contains(except, entry.Name()) })
	r.reflectAll("/old", "/new", "/", entries, "")
	if err := pivot("/new"); err != nil {
		return err
	}
	r.mirrors = append(r.mirrors, "/")
	return nil
}

// tmpfs says that a directory is in a mirror itself, not in what the mirror
// shows of the host.
func (r *Root) tmpfs(directory string) bool {
	for _, mirror := range r.mirrors {
		var of, in unix.Stat_t
		if Within(directory, mirror) && unix.Stat(mirror, &of) == nil && unix.Stat(directory, &in) == nil && of.Dev == in.Dev {
			return true
		}
	}
	return false
}

// remove takes an entry out of a mirror.
func remove(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("taking %s out: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("taking %s out: %w", path, err)
	}
	return nil
}

func reflect(source, target string, kind os.FileMode) error {
	switch {
	case kind&os.ModeSymlink != 0:
		to, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	case kind.IsDir():
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
	default:
		file, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		file.Close()
	}
	return unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, "")
}

// pivot makes a mount the root of this namespace, and lets go of the old one.
func pivot(fresh string) error {
	if err := unix.Chdir(fresh); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	// The old root comes to lie on top of the new one, and is taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	return nil
}
