//go:build linux

package root

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// scratch is where mounts are put together before they are bound to where they
// belong: a directory that every Linux has and no pod mounts into.
const scratch = "/sys"

// emptyName is an empty directory of the content.
const emptyName = "empty"

// content is a tmpfs that holds copies of the pod's files. In the stage only
// read-only binds of its parts are to be seen; it is written through a
// directory that stays open.
type content struct {
	root *os.Root
	next int
	// of is the name of each directory mount and of each file, by its path.
	of    map[string]string
	files map[string]string
	// generation counts refreshes, to name directories.
	generation int
}

func newContent() (*content, error) {
	if err := unix.Mount("tmpfs", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return nil, fmt.Errorf("mounting a tmpfs for the pod's files: %w", err)
	}
	root, err := os.OpenRoot(scratch)
	if err != nil {
		return nil, fmt.Errorf("opening the tmpfs for the pod's files: %w", err)
	}
	if err := root.Mkdir(emptyName, 0o755); err != nil {
		return nil, fmt.Errorf("filling the tmpfs for the pod's files: %w", err)
	}
	return &content{root: root, of: map[string]string{}, files: map[string]string{}}, nil
}

// hide takes the tmpfs out of the tree; binds and the open directory remain.
func (c *content) hide() error {
	if err := unix.Unmount(scratch, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("hiding the tmpfs of the pod's files: %w", err)
	}
	return nil
}

func (c *content) name() string {
	c.next++
	return strconv.Itoa(c.next)
}

func (c *content) addFile(file tunnel.File) (string, error) {
	name := c.name()
	return name, write(c.root, name, file)
}

// addNothing is a file that may not be read.
func (c *content) addNothing() (string, error) {
	name := c.name()
	if err := c.root.WriteFile(name, nil, 0); err != nil {
		return "", fmt.Errorf("making an empty file: %w", err)
	}
	return name, nil
}

// rewrite gives files that were added other content, in place: they are bound
// one by one. Others are left out.
func (c *content) rewrite(files []tunnel.File) error {
	for _, file := range files {
		name, ok := c.files[file.Path]
		if !ok {
			continue
		}
		if err := ignoreMissing(c.root.Chmod(name, 0o600)); err != nil {
			return fmt.Errorf("rewriting %s: %w", file.Path, err)
		}
		if err := write(c.root, name, file); err != nil {
			return fmt.Errorf("rewriting %s: %w", file.Path, err)
		}
	}
	return nil
}

func (c *content) addMount(mount Mount) (string, error) {
	if mount.File {
		if len(mount.Files) != 1 {
			return "", fmt.Errorf("it is a single file with %d contents", len(mount.Files))
		}
		return c.addFile(mount.Files[0])
	}
	name := c.name()
	if err := c.root.Mkdir(name, 0o755); err != nil {
		return "", fmt.Errorf("copying: %w", err)
	}
	c.of[mount.Path] = name
	return name, c.refresh(mount)
}

// The link that the kubelet, too, exchanges to change all files of a volume at
// once; programs watch it.
const (
	dataLink = "..data"
	nextLink = "..data_tmp"
)

// refresh writes a directory's new content beside the old, turns the link over
// and removes what is no more.
func (c *content) refresh(mount Mount) error {
	name, ok := c.of[mount.Path]
	if !ok {
		if mount.File {
			return nil
		}
		return fmt.Errorf("refreshing %s: nothing is mounted there", mount.Path)
	}
	volume, err := c.root.OpenRoot(name)
	if err != nil {
		return fmt.Errorf("refreshing %s: %w", mount.Path, err)
	}
	defer volume.Close()
	c.generation++
	generation := fmt.Sprintf("..%d", c.generation)
	if err := fill(volume, generation, mount.Files); err != nil {
		return errors.Join(fmt.Errorf("refreshing %s: %w", mount.Path, err), volume.RemoveAll(generation))
	}
	previous, _ := volume.Readlink(dataLink)
	if err := errors.Join(ignoreMissing(volume.Remove(nextLink)), volume.Symlink(generation, nextLink), volume.Rename(nextLink, dataLink)); err != nil {
		return fmt.Errorf("refreshing %s: %w", mount.Path, err)
	}
	if err := relink(volume, mount.Files); err != nil {
		return fmt.Errorf("refreshing %s: %w", mount.Path, err)
	}
	if previous != "" {
		return volume.RemoveAll(previous)
	}
	return nil
}

func fill(volume *os.Root, generation string, files []tunnel.File) error {
	if err := volume.Mkdir(generation, 0o755); err != nil {
		return err
	}
	directory, err := volume.OpenRoot(generation)
	if err != nil {
		return err
	}
	defer directory.Close()
	for _, file := range files {
		if err := directory.MkdirAll(path.Dir(file.Path), 0o755); err != nil {
			return err
		}
		if err := write(directory, file.Path, file); err != nil {
			return err
		}
	}
	return nil
}

// relink makes a link for each name at the top of the tree, and none other.
func relink(volume *os.Root, files []tunnel.File) error {
	tops := map[string]bool{}
	for _, file := range files {
		top, _, _ := strings.Cut(file.Path, "/")
		tops[top] = true
	}
	directory, err := volume.Open(".")
	if err != nil {
		return err
	}
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if tops[name] {
			delete(tops, name)
		} else if !strings.HasPrefix(name, "..") {
			if err := volume.Remove(name); err != nil {
				return err
			}
		}
	}
	for top := range tops {
		if err := volume.Symlink(filepath.Join(dataLink, top), top); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file that the user may read, whoever may in the pod.
func write(in *os.Root, name string, file tunnel.File) error {
	if err := in.WriteFile(name, file.Data, 0o600); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	if err := in.Chmod(name, os.FileMode(file.Mode).Perm()|0o400); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
