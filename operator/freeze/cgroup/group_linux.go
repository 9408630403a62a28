package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Group is the cgroup of one container in one hierarchy, held open: when the
// container is removed and another takes its name, this is still the first one,
// and gone.
type Group struct {
	Version Version
	// Path from the hierarchy's root, as the process table has it.
	Path string
	dir  *os.File
}

// Close lets go of the cgroup. It changes nothing about it.
func (g *Group) Close() error { return g.dir.Close() }

func (g *Group) String() string { return fmt.Sprintf("cgroup %v %s", g.Version, g.Path) }

// State is what the kernel says of a cgroup.
type State struct {
	// Asked: it was told to freeze, by whomever.
	Asked bool
	// Frozen: each of its processes is, and of those in cgroups below it.
	Frozen bool
	// Above: it is to be frozen because one above it is, and cannot be thawed
	// by itself.
	Above bool
}

// State reads it. The error is ErrGone if the cgroup is not there any more.
func (g *Group) State() (State, error) {
	var s State
	var err error
	if g.Version == V2 {
		s, err = g.stateV2()
	} else {
		s, err = g.stateV1()
	}
	if err != nil {
		return State{}, fmt.Errorf("reading the state of %v: %w", g, goneOr(err))
	}
	return s, nil
}

func (g *Group) stateV2() (State, error) {
	asked, err := g.read("cgroup.freeze")
	if err != nil {
		return State{}, err
	}
	events, err := g.read("cgroup.events")
	if err != nil {
		return State{}, err
	}
	s := State{Asked: strings.TrimSpace(asked) == "1", Frozen: isFrozen(events)}
	s.Above = s.Frozen && !s.Asked
	return s, nil
}

// isFrozen reads cgroup.events: "populated 1\nfrozen 0\n".
func isFrozen(events string) bool {
	return slices.Contains(strings.Split(events, "\n"), "frozen 1")
}

func (g *Group) stateV1() (State, error) {
	// First: reading it is what moves the kernel from FREEZING to FROZEN.
	state, err := g.read("freezer.state")
	if err != nil {
		return State{}, err
	}
	self, err := g.read("freezer.self_freezing")
	if err != nil {
		return State{}, err
	}
	parent, err := g.read("freezer.parent_freezing")
	if err != nil {
		return State{}, err
	}
	return State{
		Asked:  strings.TrimSpace(self) == "1",
		Frozen: strings.TrimSpace(state) == "FROZEN",
		Above:  strings.TrimSpace(parent) == "1",
	}, nil
}

// PIDs lists the container's processes, in the cgroups below its own too. The
// error is ErrGone if the cgroup is not there any more.
func (g *Group) PIDs() ([]int, error) {
	var pids []int
	budget := maxGroups
	err := walk(int(g.dir.Fd()), &budget, func(dir int) error {
		text, err := readAt(dir, "cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil // a threaded one: its processes are listed above it
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			// A process of a PID namespace that is not below ours is a 0.
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the processes of %v: %w", g, goneOr(err))
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// maxGroups bounds how many cgroups that a container made are looked into.
const maxGroups = 10_000

// walk calls f for dir and all that is below; what is removed meanwhile is left
// out, except for dir itself.
func walk(dir int, budget *int, f func(dir int) error) error {
	if *budget--; *budget < 0 {
		return fmt.Errorf("it has more than %d cgroups", maxGroups)
	}
	if err := f(dir); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	list := os.NewFile(uintptr(fd), ".")
	entries, err := list.ReadDir(-1)
	list.Close()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		child, err := unix.Openat(dir, entry.Name(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err == nil {
			err = walk(child, budget, f)
			unix.Close(child)
		}
		if err != nil && !errors.Is(goneOr(err), ErrGone) {
			return err
		}
	}
	return nil
}

func (g *Group) read(name string) (string, error) { return readAt(int(g.dir.Fd()), name) }

func readAt(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	data, err := io.ReadAll(f)
	return string(data), err
}

func (g *Group) write(name, value string) error {
	fd, err := unix.Openat(int(g.dir.Fd()), name, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(value))
	return err
}
