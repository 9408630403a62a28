package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Version of the kernel's interface.
type Version int

// The versions. On a hybrid machine a container may have a cgroup in both.
const (
	V1 Version = 1
	V2 Version = 2
)

func (v Version) String() string { return "v" + strconv.Itoa(int(v)) }

// mount is where a hierarchy is to be seen.
type mount struct {
	id      string
	device  string // the same for all mounts of a hierarchy
	version Version
	// freezes: in version 1 only one of the hierarchies does.
	freezes bool
	// root is the cgroup that the mount point shows.
	root  string
	point string
}

// parseMounts reads the mounts of cgroup hierarchies out of a mountinfo file
// (proc_pid_mountinfo(5)), those that show the most first.
func parseMounts(mountinfo string) []mount {
	var found []mount
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 6 || len(what) < 3 {
			continue
		}
		m := mount{id: where[0], device: where[2], root: unescape(where[3]), point: unescape(where[4])}
		switch what[0] {
		case "cgroup2":
			m.version, m.freezes = V2, true
		case "cgroup":
			m.version, m.freezes = V1, slices.Contains(strings.Split(what[2], ","), "freezer")
		default:
			continue
		}
		found = append(found, m)
	}
	slices.SortStableFunc(found, func(a, b mount) int { return len(a.root) - len(b.root) })
	return found
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// below says what a cgroup's path is when seen from m; false if m does not show it.
func (m mount) below(cgroup string) (string, bool) {
	if m.root == "/" {
		return cgroup, true
	}
	rest, ok := strings.CutPrefix(cgroup, m.root)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// open opens a cgroup's directory below the mount, for looking up its files only.
func (m mount) open(cgroup string) (*os.File, error) {
	rest, ok := m.below(cgroup)
	if !ok {
		return nil, fmt.Errorf("opening cgroup %s: %w", cgroup, unix.ENOENT)
	}
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	dir, err := os.OpenFile(m.point, flags, 0)
	if err != nil {
		return nil, err
	}
	if id, err := mountID(dir); err != nil || id != m.id {
		dir.Close()
		return nil, fmt.Errorf("opening cgroup %s: something is mounted over %s", cgroup, m.point)
	}
	for component := range strings.SplitSeq(strings.Trim(rest, "/"), "/") {
		if component == "" {
			continue
		}
		if component == "." || component == ".." {
			dir.Close()
			return nil, fmt.Errorf("cgroup %s is outside of what %s shows", cgroup, m.point)
		}
		next, err := unix.Openat(int(dir.Fd()), component, flags|unix.O_NOFOLLOW, 0)
		dir.Close()
		if err != nil {
			return nil, fmt.Errorf("opening cgroup %s: %w", cgroup, err)
		}
		dir = os.NewFile(uintptr(next), cgroup)
	}
	return dir, nil
}

// mountID tells on which mount an open file is, by the number that mountinfo has.
func mountID(f *os.File) (string, error) {
	info, err := os.ReadFile("/proc/thread-self/fdinfo/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", errors.New("the kernel does not say on which mount a file is")
}
