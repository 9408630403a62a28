//go:build linux

// Package root arranges what the stage's processes see of the file system: the
// host's own tree, with the pod's names, config maps, secrets and tokens laid
// over it at their own paths, whether or not the host has such paths. It runs
// in a mount namespace of its own and leaves the host's as it is.
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

// Plan says what is laid over the host's tree.
type Plan struct {
	// Files of the pod, at their own paths.
	Files []tunnel.File
	// Mounts of the replaced container, with their content.
	Mounts []Mount
	// Views are served by whoever takes their descriptors, and so must not be
	// looked into before: nothing else of the plan is below one.
	Views []View
	// Bound are paths of the host that are seen elsewhere, too.
	Bound []Bound
	// Hidden paths of the host, which are empty or may not be read.
	Hidden []string
	// Personal directories: in them a missing mount point is made for real,
	// because what is written beside it must not be lost. Absolute.
	Personal []string `json:"-"`
	// Dir is where the command will start, to be told when it is hidden.
	Dir string `json:"-"`
}

// Mount is one volume and its content.
type Mount struct {
	Path  string
	File  bool
	Files []tunnel.File
}

// View is a folder or file that is served from outside.
type View struct {
	Path string
	File bool
	// Writable lets who serves it decide what may be written.
	Writable bool
}

// Bound is something of the host, and where it is seen, too.
type Bound struct {
	From, To string
}

// Root is an arranged tree.
type Root struct {
	// Made are directories made on the host to serve as mount points, each
	// after the one it is in. Whoever ends the stage removes those that are
	// empty.
	Made []string
	// Notices are what could not be laid over, and what is hidden.
	Notices []string
	// Devices serve the views, in their order; nil for one that could not be
	// mounted.
	Devices []*os.File

	content *content
	mirrors []string
}

// Names that are never asked: daemons which answer for the host's own
// resolver over a unix socket, and so know nothing of network namespaces.
// Directories are replaced by empty ones, sockets by something that refuses.
var masked = []string{
	"/run/nscd", "/var/run/nscd", "/run/.nscd_socket", "/var/run/.nscd_socket",
	"/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/resolve/io.systemd.Resolve.Monitor",
	"/run/systemd/resolve.hook", "/run/avahi-daemon/socket",
}

// Arrange lays the plan over the root of the calling process's mount namespace.
// What cannot be laid over is a notice; an error means that the tree is unfit.
func Arrange(plan Plan) (*Root, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, fmt.Errorf("separating the mounts from the host's: %w", err)
	}
	r := &Root{}
	if missing := missingInRoot(plan); len(missing) > 0 {
		if err := r.mirrorRoot(missing); err != nil {
			return nil, err
		}
	}
	content, err := newContent()
	if err != nil {
		return nil, err
	}
	r.content = content
	for _, mount := range plan.Mounts {
		r.layMount(plan, mount)
	}
	for _, file := range append(withoutSwitch(plan.Files), nameServiceSwitch()) {
		name, err := content.addFile(file)
		if err == nil {
			content.files[file.Path] = name
			err = r.lay(plan, name, file.Path, false)
		}
		if err != nil {
			r.notice("%s is the host's own: %v", file.Path, err)
		}
	}
	for _, path := range masked {
		if err := r.mask(path); err != nil {
			return nil, err
		}
	}
	for _, bound := range plan.Bound {
		if err := r.bind(plan, bound); err != nil {
			r.notice("%s is not at %s: %v", bound.From, bound.To, err)
		}
	}
	for _, path := range plan.Hidden {
		if err := r.hide(path); err != nil {
			r.notice("%s is not hidden: %v", path, err)
		}
	}
	for _, view := range plan.Views {
		device, err := r.view(plan, view)
		if err != nil {
			r.notice("%s of the pod cannot be read: %v", view.Path, err)
		}
		r.Devices = append(r.Devices, device)
	}
	for _, mirror := range r.mirrors {
		// A file made in here would be lost with the stage: better refused.
		if err := readOnly(mirror); err != nil {
			return nil, err
		}
	}
	return r, content.hide()
}

// missingInRoot are the names in the root directory that must be made for some
// mount point, or made anew because they are of the wrong kind.
func missingInRoot(plan Plan) []string {
	var names []string
	look := func(at string, directory bool) {
		ancestor, missing, err := resolve(at)
		if err != nil {
			return
		}
		if len(missing) > 0 {
			if ancestor == "/" && !personal(plan, ancestor) {
				names = append(names, missing[0])
			}
			return
		}
		if info, err := os.Lstat(ancestor); err == nil && info.IsDir() != directory && filepath.Dir(ancestor) == "/" {
			names = append(names, filepath.Base(ancestor))
		}
	}
	for _, mount := range plan.Mounts {
		look(mount.Path, !mount.File)
	}
	for _, file := range plan.Files {
		look(file.Path, false)
	}
	for _, view := range plan.Views {
		look(view.Path, !view.File)
	}
	for _, bound := range plan.Bound {
		if info, err := os.Stat(bound.From); err == nil {
			look(bound.To, info.IsDir())
		}
	}
	return names
}

func (r *Root) notice(format string, args ...any) {
	r.Notices = append(r.Notices, fmt.Sprintf(format, args...))
}

func (r *Root) layMount(plan Plan, mount Mount) {
	name, err := r.content.addMount(mount)
	if err == nil {
		err = r.lay(plan, name, mount.Path, !mount.File)
	}
	if err != nil {
		r.notice("%s is not mounted: %v", mount.Path, err)
		return
	}
	if Within(plan.Dir, mount.Path) {
		r.notice("the working directory %s is hidden by the mount of %s", plan.Dir, mount.Path)
	}
}

// Refresh exchanges the content of one mount, all of it at once. The content of
// a single file (subPath) stays, as in a pod.
func (r *Root) Refresh(mount Mount) error { return r.content.refresh(mount) }

// Rewrite gives the pod's files other content: those that were laid before.
func (r *Root) Rewrite(files []tunnel.File) error { return r.content.rewrite(withoutSwitch(files)) }

// lay binds something of the content to a path, read-only.
func (r *Root) lay(plan Plan, name, at string, directory bool) error {
	if !path.IsAbs(at) || path.Clean(at) != at || at == "/" {
		return fmt.Errorf("the path %q is not one to mount at", at)
	}
	target, err := r.mountPoint(plan, at, directory)
	if err != nil {
		return err
	}
	if err := unix.Mount(filepath.Join(scratch, name), target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting at %s: %w", target, err)
	}
	return readOnly(target)
}

func readOnly(target string) error {
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", target, err)
	}
	return nil
}

// mountPoint finds or makes something of the right kind at a path, and returns
// where it really is.
func (r *Root) mountPoint(plan Plan, at string, directory bool) (string, error) {
	ancestor, missing, err := resolve(at)
	if err != nil {
		return "", err
	}
	if len(missing) == 0 {
		info, err := os.Lstat(ancestor)
		if err != nil {
			return "", err
		}
		if info.IsDir() == directory {
			return ancestor, nil
		}
		// The host has a file where the pod has a directory, or the reverse.
		ancestor, missing = filepath.Dir(ancestor), []string{filepath.Base(ancestor)}
		if err := r.mirror(ancestor, missing[0]); err != nil {
			return "", err
		}
		return r.create(ancestor, missing, directory, false)
	}
	real := !r.tmpfs(ancestor) && personal(plan, ancestor)
	if !real {
		if err := r.mirror(ancestor, missing[0]); err != nil {
			return "", err
		}
	}
	return r.create(ancestor, missing, directory, real)
}

// personal says that a directory is one in which the user's programs write.
func personal(plan Plan, directory string) bool {
	if unix.Faccessat(unix.AT_FDCWD, directory, unix.W_OK, 0) != nil {
		return false
	}
	if os.Getuid() != 0 {
		return true
	}
	for _, home := range plan.Personal {
		if Within(directory, home) {
			return true
		}
	}
	return false
}

func (r *Root) create(ancestor string, missing []string, directory, real bool) (string, error) {
	target := ancestor
	for i, name := range missing {
		target = filepath.Join(target, name)
		if i == len(missing)-1 && !directory {
			file, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return "", fmt.Errorf("making a mount point: %w", err)
			}
			file.Close()
		} else if err := os.Mkdir(target, 0o755); err != nil {
			return "", fmt.Errorf("making a mount point: %w", err)
		}
		if real {
			r.Made = append(r.Made, target)
		}
	}
	return target, nil
}

// mask replaces what is at a path, if anything is.
func (r *Root) mask(at string) error {
	ancestor, missing, err := resolve(at)
	if err != nil || len(missing) > 0 {
		return nil //nolint:nilerr // a path that does not resolve cannot be asked either
	}
	info, err := os.Lstat(ancestor)
	if err != nil {
		return nil //nolint:nilerr // gone in between
	}
	source := "/dev/null"
	if info.IsDir() {
		source = filepath.Join(scratch, emptyName)
	}
	if err := unix.Mount(source, ancestor, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("masking %s: %w", at, err)
	}
	return nil
}

// maxLinks that one path may lead over, as in the kernel.
const maxLinks = 40

// resolve follows a path's symbolic links as far as it exists: to the deepest
// existing ancestor, free of links, and what is missing below it.
func resolve(at string) (string, []string, error) {
	done, rest := "/", split(at)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(done, rest[0])
		info, err := os.Lstat(next)
		if errors.Is(err, os.ErrNotExist) {
			return done, rest, nil
		}
		if err != nil {
			return "", nil, err
		}
		rest = rest[1:]
		if info.Mode()&os.ModeSymlink == 0 {
			if !info.IsDir() && len(rest) > 0 {
				return "", nil, fmt.Errorf("%s is not a directory", next)
			}
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("resolving %s: %w", at, unix.ELOOP)
		}
		to, err := os.Readlink(next)
		if err != nil {
			return "", nil, err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(done, to)
		}
		done, rest = "/", append(split(to), rest...)
	}
	return done, nil, nil
}

func split(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' })
}

// Within says that a path is a directory or in it.
func Within(path, directory string) bool {
	return path == directory || strings.HasPrefix(path, strings.TrimSuffix(directory, "/")+"/")
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
