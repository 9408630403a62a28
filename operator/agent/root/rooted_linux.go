package root

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

const (
	// dataLink is the kubelet's: it points to the folder of the version of now,
	// and is replaced at once when a volume's content changes.
	dataLink = "..data"
	// maxDepth of folders in a mount, maxEntries of names in a folder.
	maxDepth   = 16
	maxEntries = 10000
	// maxLink is the longest target of a link that is read.
	maxLink = 4096
	// maxPart of a file that is handed over at a time, in bytes.
	maxPart = 16 << 10
)

// rooted is a container's root, and our own descriptors in /proc by which what
// was looked at is opened.
type rooted struct {
	root int
	own  int
	// except is a folder that nothing leads to, as this process names it; empty
	// for none.
	except string
}

// locate resolves a path within the root, without opening what it leads to.
func (r rooted) locate(name string, more uint64) (int, error) {
	fd, err := unix.Openat2(r.root, within(name), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | more,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if r.excepted(fd) {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "open", Path: name, Err: unix.ENOENT}
	}
	return fd, nil
}

// excepted says that a descriptor is of what nothing leads to, by whatever links.
func (r rooted) excepted(fd int) bool {
	if r.except == "" {
		return false
	}
	at := make([]byte, maxLink)
	n, err := unix.Readlinkat(r.own, strconv.Itoa(fd), at)
	return err != nil || string(at[:n]) == r.except || strings.HasPrefix(string(at[:n]), r.except+"/")
}

// within is a path as seen from the root, which itself is ".".
func within(name string) string {
	if clean := path.Clean("/" + name); clean != "/" {
		return clean[1:]
	}
	return "."
}

// kind says what a descriptor is of.
func kind(fd int) (unix.Stat_t, fs.FileMode, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return stat, 0, fmt.Errorf("looking at a file: %w", err)
	}
	mode := fs.FileMode(stat.Mode & 0o777)
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	default:
		mode |= fs.ModeIrregular
	}
	return stat, mode, nil
}

// reopen opens for reading what a descriptor of locate is of, whatever its name
// leads to by now.
func (r rooted) reopen(fd int) (*os.File, error) {
	opened, err := unix.Openat(r.own, strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(opened), "file"), nil
}

// open opens a regular file or a folder for reading.
func (r rooted) open(name string) (*os.File, unix.Stat_t, fs.FileMode, error) {
	fd, err := r.locate(name, 0)
	if err != nil {
		return nil, unix.Stat_t{}, 0, err
	}
	defer unix.Close(fd)
	stat, mode, err := kind(fd)
	if err != nil {
		return nil, stat, mode, err
	}
	if mode&fs.ModeIrregular != 0 {
		return nil, stat, mode, &fs.PathError{Op: "open", Path: name, Err: errIrregular}
	}
	file, err := r.reopen(fd)
	if err != nil {
		return nil, stat, mode, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return file, stat, mode, nil
}

var errIrregular = errors.New("neither a regular file nor a folder")

// readFile reads one regular file whole.
func (r rooted) readFile(name string) (tunnel.File, error) {
	file, _, mode, err := r.open(name)
	if err != nil {
		return tunnel.File{}, err
	}
	defer file.Close()
	if mode.IsDir() {
		return tunnel.File{}, &fs.PathError{Op: "read", Path: name, Err: unix.EISDIR}
	}
	data, err := io.ReadAll(io.LimitReader(file, tunnel.MaxFileSize+1))
	if err != nil {
		return tunnel.File{}, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	if len(data) > tunnel.MaxFileSize {
		return tunnel.File{}, fmt.Errorf("%s: %w", name, tunnel.ErrTooLarge)
	}
	return tunnel.File{Path: name, Mode: uint32(mode.Perm()), Data: data}, nil
}

// readlink reads a link itself.
func (r rooted) readlink(name string) (string, error) {
	info, err := r.look(name)
	if err == nil && info.Target == nil {
		err = &fs.PathError{Op: "readlink", Path: name, Err: unix.EINVAL}
	}
	return string(info.Target), err
}

// entries are the names in a folder, sorted.
func (r rooted) entries(name string) ([]string, error) {
	file, _, mode, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !mode.IsDir() {
		return nil, &fs.PathError{Op: "list", Path: name, Err: unix.ENOTDIR}
	}
	names, err := file.Readdirnames(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &fs.PathError{Op: "list", Path: name, Err: err}
	}
	if len(names) > maxEntries {
		return nil, fmt.Errorf("%s has more than %d entries: %w", name, maxEntries, tunnel.ErrTooLarge)
	}
	slices.Sort(names)
	return names, nil
}

// walk calls each with every regular file below base, links followed within the
// root, but for the kubelet's own entries. A base that is a file is ".".
func (r rooted) walk(base, name string, depth int, each func(name string, stat unix.Stat_t) error) error {
	full := path.Join(base, name)
	fd, err := r.locate(full, 0)
	if err != nil {
		return err
	}
	stat, mode, err := kind(fd)
	unix.Close(fd)
	switch {
	case err != nil:
		return err
	case mode.IsRegular():
		return each(name, stat)
	case !mode.IsDir():
		return nil
	case depth == maxDepth:
		return fmt.Errorf("folders deeper than %d: %w", maxDepth, tunnel.ErrTooLarge)
	}
	names, err := r.entries(full)
	if err != nil {
		return err
	}
	for _, entry := range names {
		if depth == 0 && strings.HasPrefix(entry, "..") {
			continue
		}
		if err := r.walk(base, path.Join(name, entry), depth+1, each); err != nil {
			return err
		}
	}
	return nil
}

// mount is a mounted volume as it is now.
func (r rooted) mount(name string) (tunnel.Mount, error) {
	fd, err := r.locate(name, 0)
	if err != nil {
		return tunnel.Mount{}, err
	}
	_, mode, err := kind(fd)
	unix.Close(fd)
	if err != nil {
		return tunnel.Mount{}, err
	}
	version, err := r.version(name)
	return tunnel.Mount{Path: name, File: !mode.IsDir(), Version: version}, err
}

// version is where the kubelet's link points; without one, a digest of what the
// files look like from outside.
func (r rooted) version(mount string) (string, error) {
	if target, err := r.readlink(path.Join(mount, dataLink)); err == nil {
		return target, nil
	}
	digest := sha256.New()
	err := r.walk(mount, ".", 0, func(name string, stat unix.Stat_t) error {
		fmt.Fprintf(digest, "%q %d %d %o\n", name, stat.Size, stat.Mtim.Nano(), stat.Mode)
		return nil
	})
	return hex.EncodeToString(digest.Sum(nil)[:16]), err
}

// tree hands over the files of a mount, of one version.
func (r rooted) tree(mount string, each func(tunnel.File) error) (string, error) {
	before, err := r.version(mount)
	if err != nil {
		return "", gone(err, tunnel.ErrNotFound)
	}
	base := mount
	if _, err := r.readlink(path.Join(mount, dataLink)); err == nil {
		// By the version's own name: the link may be replaced meanwhile.
		base = path.Join(mount, before)
	}
	total, count := 0, 0
	err = r.walk(base, ".", 0, func(name string, _ unix.Stat_t) error {
		file, err := r.readFile(path.Join(base, name))
		if err != nil {
			return err
		}
		if total, count = total+len(file.Data), count+1; total > tunnel.MaxTreeSize || count > tunnel.MaxTreeFiles {
			return fmt.Errorf("%s: %w", mount, tunnel.ErrTooLarge)
		}
		file.Path = name
		return each(file)
	})
	after, afterErr := r.version(mount)
	if err == nil && afterErr != nil {
		err = afterErr
	}
	if err == nil && after != before {
		err = tunnel.ErrChanging
	}
	return before, gone(err, tunnel.ErrChanging)
}

// gone makes of a file that is not there (any more) what that means.
func gone(err, meaning error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", meaning, err)
	}
	return err
}
