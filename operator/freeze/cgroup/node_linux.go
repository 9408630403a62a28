package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrGone is what is said of a container that is not on this node, or not any
// more. Who wanted it thawed has what he wanted.
var ErrGone = errors.New("no such container on this node")

// ErrOtherHierarchy is what is said of a container that runs, but that has no cgroup
// of its own in the hierarchy of the version that is asked for.
var ErrOtherHierarchy = errors.New("it has no cgroup of its own in the hierarchy")

// Node is the machine whose containers are meant. The zero value is the one
// that this program runs on, as seen from a privileged container with hostPID
// and the node's /sys/fs/cgroup mounted, wherever.
type Node struct {
	// Proc is where the node's process table is; default /proc.
	Proc string
	// Version of the hierarchy to freeze in; 0 to choose. Chosen is the one that
	// the container is really in. Where it is in both, that is v2, in which a
	// frozen process can still be killed, unless v1 has it frozen already.
	Version Version
}

func (n Node) proc() string { return cmp.Or(n.Proc, "/proc") }

// Find opens the container's cgroup, to be closed by the caller. The error is
// ErrGone if no process of the container is left.
func (n Node) Find(c Container) (group *Group, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	err = n.look(func() error {
		for text := range n.memberships() {
			if !strings.Contains(text, c.ID) {
				continue
			}
			places := parsePlaces(text)
			for v, at := range places {
				if at.podUID != c.PodUID || at.id != c.ID {
					delete(places, v)
				}
			}
			if len(places) == 0 {
				continue
			}
			group, err = n.choose(places)
			return err
		}
		return ErrGone
	})
	if err != nil {
		return nil, fmt.Errorf("finding the cgroup of %v: %w", c, err)
	}
	return group, nil
}

// choose opens one of the cgroups that a container has in the hierarchies.
func (n Node) choose(places map[Version]place) (*Group, error) {
	if n.Version != 0 {
		at, ok := places[n.Version]
		if !ok {
			return nil, fmt.Errorf("%w of cgroup %v", ErrOtherHierarchy, n.Version)
		}
		return n.open(n.Version, at.group)
	}
	v1, has1 := places[V1]
	v2, has2 := places[V2]
	if has2 && has1 {
		// A task that v1 holds never becomes frozen in v2: it has to be thawed
		// where it was frozen.
		old, err := n.open(V1, v1.group)
		if err == nil {
			if state, err := old.State(); err == nil && (state.Asked || state.Frozen) {
				return old, nil
			}
			old.Close()
		}
	}
	if has2 {
		group, err := n.open(V2, v2.group)
		if err == nil {
			if _, err = group.State(); err == nil {
				return group, nil
			}
			group.Close()
		}
		if !has1 {
			// Linux has cgroup.freeze since 5.2.
			return nil, err
		}
	}
	return n.open(V1, v1.group)
}

// Open opens a cgroup of which version and path are known from a Group. The
// error is ErrGone if it is not there any more.
func (n Node) Open(version Version, path string) (group *Group, err error) {
	if _, ok := locate(path); !ok {
		return nil, fmt.Errorf("cgroup %q is not a container's", path)
	}
	err = n.look(func() error {
		group, err = n.open(version, path)
		return err
	})
	return group, err
}

func (n Node) open(version Version, path string) (*Group, error) {
	mountinfo, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	err = fmt.Errorf("no cgroup %v hierarchy that is mounted here shows %s: the agent needs the node's /sys/fs/cgroup", version, path)
	for _, m := range parseMounts(string(mountinfo)) {
		if _, shown := m.below(path); !m.freezes || m.version != version || !shown {
			continue
		}
		var dir *os.File
		if dir, err = m.open(path); err == nil {
			return &Group{Version: version, Path: path, dir: dir}, nil
		}
	}
	return nil, goneOr(err)
}

// Containers lists what has a process on this node in the pod, or in all pods if
// podUID is "": containers and the pods' sandboxes alike, each once.
func (n Node) Containers(podUID string) (containers []Container, err error) {
	seen := map[Container]bool{}
	err = n.look(func() error {
		for text := range n.memberships() {
			for _, at := range parsePlaces(text) {
				c := Container{PodUID: at.podUID, ID: at.id}
				if (podUID == "" || at.podUID == podUID) && !seen[c] {
					seen[c] = true
					containers = append(containers, c)
				}
			}
		}
		return nil
	})
	return containers, err
}

// NetworkNamespace opens the pod's network namespace, to be closed by the
// caller: that of its oldest process, which is the sandbox's where there is one.
// The error is ErrGone if the pod has no process here.
func (n Node) NetworkNamespace(podUID string) (ns *os.File, err error) {
	if !isName(podUID) {
		return nil, fmt.Errorf("%q is not a pod's UID", podUID)
	}
	oldest, shallow := uint64(0), false
	err = n.look(func() error {
		for p := range n.processes() {
			mine, own := false, false
			for _, at := range p.places() {
				if at.podUID == podUID {
					mine, own = true, own || !at.inner
				}
			}
			// One that is deeper may be in a namespace that the container made, and counts
			// where no other is there: some runtimes make a cgroup below each container's.
			if started, ok := p.started(); mine && ok && (ns == nil || own && !shallow || own == shallow && started < oldest) {
				if found, err := p.open("ns/net", 0); err == nil {
					if ns != nil {
						ns.Close()
					}
					ns, oldest, shallow = found, started, own
				}
			}
			p.close()
		}
		return nil
	})
	if err == nil && ns == nil {
		err = ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("finding the network namespace of pod %s: %w", podUID, err)
	}
	return ns, nil
}

// look runs f in the cgroup namespace of the node: the kernel shows each reader
// of the process table paths that are relative to the reader's own.
func (n Node) look(f func() error) error {
	first, err := os.ReadFile(filepath.Join(n.proc(), "1/cgroup"))
	if err != nil {
		return fmt.Errorf("looking at the node's first process: %w; the agent needs hostPID", err)
	}
	if !strings.Contains(string(first), ":/..") {
		return f() // that process is not outside of what we see
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody else
		// gets it in the wrong namespace.
		runtime.LockOSThread()
		ns, err := os.Open(filepath.Join(n.proc(), "1/ns/cgroup"))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWCGROUP)
			ns.Close()
		}
		if err != nil {
			done <- fmt.Errorf("entering the node's cgroup namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// process is one line of the process table. Its directory stays its own when its
// number is given to another.
type process struct{ dir *os.File }

// processes goes through the process table; what is gone meanwhile is left out.
func (n Node) processes() iter.Seq[process] {
	return func(yield func(process) bool) {
		for table, name := range n.table() {
			dir, err := unix.Openat(table, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
			if err == nil && !yield(process{os.NewFile(uintptr(dir), name)}) {
				return
			}
		}
	}
}

// memberships goes through the processes' cgroup files. There may be thousands,
// and somebody waits.
func (n Node) memberships() iter.Seq[string] {
	return func(yield func(string) bool) {
		buffer := make([]byte, 64<<10) // 13 hierarchies, each with the longest of paths
		for table, name := range n.table() {
			fd, err := unix.Openat(table, name+"/cgroup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			length := 0
			for length < len(buffer) {
				n, err := unix.Read(fd, buffer[length:])
				if n <= 0 || err != nil {
					break
				}
				length += n
			}
			unix.Close(fd)
			if !yield(string(buffer[:length])) {
				return
			}
		}
	}
}

// table goes through the process table's names, with its open directory.
func (n Node) table() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		table, err := os.Open(n.proc())
		if err != nil {
			return
		}
		defer table.Close()
		for {
			names, err := table.Readdirnames(512)
			for _, name := range names {
				if _, err := strconv.ParseUint(name, 10, 31); err == nil && !yield(int(table.Fd()), name) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}

func (p process) close() { p.dir.Close() }

func (p process) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (p process) read(name string) (string, error) {
	f, err := p.open(name, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(data), err
}

// places says in which container the process is, for each hierarchy that can
// freeze.
func (p process) places() map[Version]place {
	text, err := p.read("cgroup")
	if err != nil {
		return nil
	}
	return parsePlaces(text)
}

func parsePlaces(text string) map[Version]place {
	found := map[Version]place{}
	for version, path := range parseMembership(text) {
		if at, ok := locate(path); ok {
			found[version] = at
		}
	}
	return found
}

// parseMembership reads the paths of the hierarchies that can freeze out of a
// process's cgroup file (proc_pid_cgroup(5)): "6:freezer:/path", "0::/path".
func parseMembership(text string) map[Version]string {
	found := map[Version]string{}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) != 3 || strings.HasSuffix(fields[2], " (deleted)"):
		case fields[0] == "0" && fields[1] == "":
			found[V2] = fields[2]
		case slices.Contains(strings.Split(fields[1], ","), "freezer"):
			found[V1] = fields[2]
		}
	}
	return found
}

// started is when the process began, in clock ticks since boot.
func (p process) started() (uint64, bool) {
	text, err := p.read("stat")
	if err != nil {
		return 0, false
	}
	// The name, in brackets, may itself have brackets and blanks.
	_, rest, ok := cutLast(text, ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	return ticks, err == nil
}

// goneOr makes of the kernel's several ways of saying that a cgroup was removed
// the one that callers know.
func goneOr(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return ErrGone
	}
	return err
}

// Within tells whether a process is in a pod, in any hierarchy.
func (n Node) Within(pid int) (in bool, err error) {
	err = n.look(func() error {
		text, err := os.ReadFile(filepath.Join(n.proc(), strconv.Itoa(pid), "cgroup"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
			if len(fields) == 3 {
				_, found := locate(fields[2])
				in = in || found
			}
		}
		return nil
	})
	return in, err
}

// Roots lists where the roots of all hierarchies of the node can be reached.
func (n Node) Roots() (roots []string) {
	_ = n.look(func() error {
		mountinfo, err := os.ReadFile("/proc/thread-self/mountinfo")
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, m := range parseMounts(string(mountinfo)) {
			if m.root == "/" && !seen[m.device] {
				seen[m.device] = true
				roots = append(roots, m.point)
			}
		}
		return nil
	})
	return roots
}
