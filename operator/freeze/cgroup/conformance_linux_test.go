package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/freezetest"
)

func TestMain(m *testing.M) {
	nested["pivot"] = pivot
	freezetest.Main(m, nested)
}

// bed is a container that is to be frozen in one version.
type bed struct {
	*freezetest.Pod
	t         testing.TB
	container Container
	node      Node
}

func makeBed(t testing.TB, version Version, in ...int) *bed {
	pod := freezetest.NewPod(t, in...)
	return &bed{Pod: pod, t: t, container: Container{PodUID: pod.UID, ID: pod.ID}, node: Node{Version: version}}
}

// dir is the cgroup in the version that is to be frozen in.
func (b *bed) dir() string { return b.Dirs[int(b.node.Version)] }

func (b *bed) find() *Group {
	b.t.Helper()
	g, err := b.node.Find(b.container)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { g.Close() })
	return g
}

// TestConformance is what both versions of the freezer have to do, with real
// processes. A container of a hybrid machine is in both hierarchies.
func TestConformance(t *testing.T) {
	for _, machine := range []struct {
		name    string
		in      []int
		version Version
	}{
		{"v1", []int{1}, V1},
		{"v2", []int{2}, V2},
		{"hybrid/v1", []int{1, 2}, V1},
		{"hybrid/v2", []int{1, 2}, V2},
	} {
		t.Run(machine.name, func(t *testing.T) {
			for name, test := range conformance {
				t.Run(name, func(t *testing.T) {
					test(t, makeBed(t, machine.version, machine.in...))
				})
			}
		})
	}
}

var conformance = map[string]func(t *testing.T, b *bed){
	"one process": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		freezeAndThaw(t, b, b.find(), p)
	},
	"processes that fork while they are frozen": func(t *testing.T, b *bed) {
		p := b.Start("fork", b.Dirs)
		g := b.find()
		for range 20 {
			freezeAndThaw(t, b, g, p)
		}
	},
	"many threads": func(t *testing.T, b *bed) {
		p := b.Start("threads", b.Dirs)
		freezeAndThaw(t, b, b.find(), p)
	},
	"many processes": func(t *testing.T, b *bed) {
		var players []*freezetest.Process
		for range 20 {
			players = append(players, b.Start("count", b.Dirs))
		}
		g := b.find()
		if pids, err := g.PIDs(); err != nil || len(pids) != len(players) {
			t.Fatalf("%d processes listed, %v", len(pids), err)
		}
		mustFreeze(t, g)
		for _, p := range players {
			b.Still(p)
		}
		mustThaw(t, g)
		for _, p := range players {
			b.Moves(p)
		}
	},
	"a stopped process": func(t *testing.T, b *bed) {
		p, stopped := b.Start("count", b.Dirs), b.Start("count", b.Dirs)
		stop(t, stopped)
		g := b.find()
		freezeAndThaw(t, b, g, p)
		if state := stateOf(stopped.PID()); state != "T" {
			t.Errorf("the stopped process is %q after the thaw", state)
		}
		mustFreeze(t, g)
		_ = stopped.Cmd.Process.Signal(unix.SIGCONT)
		b.Still(stopped)
		mustThaw(t, g)
		b.Moves(stopped)
	},
	"a traced process": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		trace(t, p, func() { freezeAndThaw(t, b, b.find(), p) })
	},
	"a process that its tracer has stopped": func(t *testing.T, b *bed) {
		p, other := b.Start("count", b.Dirs), b.Start("count", b.Dirs)
		trace(t, p, func() {
			pid := p.PID()
			if err := unix.PtraceInterrupt(pid); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
				t.Fatal(err)
			}
			freezeAndThaw(t, b, b.find(), other)
			if err := unix.PtraceCont(pid, 0); err != nil {
				t.Fatal(err)
			}
			b.Moves(p)
		})
	},
	"cgroups below it": func(t *testing.T, b *bed) {
		inner := map[int]string{}
		for v, dir := range b.Dirs {
			inner[v] = filepath.Join(dir, "system.slice", "a.service")
			if err := os.MkdirAll(inner[v], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		deep := b.Start("count", inner)
		g := b.find() // its only process is deeper
		top := b.Start("count", b.Dirs)
		mustFreeze(t, g)
		b.Still(deep)
		b.Still(top)
		if pids, err := g.PIDs(); err != nil || len(pids) != 2 {
			t.Errorf("%v, %v", pids, err)
		}
		mustThaw(t, g)
		b.Moves(deep)
		b.Moves(top)
	},
	"a cgroup below it that is frozen by itself": func(t *testing.T, b *bed) {
		inner := map[int]string{}
		for v, dir := range b.Dirs {
			inner[v] = filepath.Join(dir, "inner")
			if err := os.Mkdir(inner[v], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		deep, top := b.Start("count", inner), b.Start("count", b.Dirs)
		freezeByHand(t, b, inner[int(b.node.Version)])
		freezeAndThaw(t, b, b.find(), top)
		b.Still(deep) // as it was
	},
	"an empty cgroup": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		g := b.find()
		_ = p.Cmd.Process.Kill()
		_ = p.Cmd.Wait()
		freezetest.Until(t, "the cgroup is empty", func() bool {
			pids, err := g.PIDs()
			return err == nil && len(pids) == 0
		})
		mustFreeze(t, g)
		if begun, err := g.Begun(); err != nil || begun {
			t.Errorf("Begun() = %v, %v", begun, err)
		}
		mustThaw(t, g)
		if _, err := b.node.Find(b.container); !errors.Is(err, ErrGone) {
			t.Errorf("found without a process: %v", err)
		}
	},
	"a process that joins": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		g := b.find()
		mustFreeze(t, g)
		watched, stop := context.WithCancel(t.Context())
		defer stop()
		thawed := make(chan error, 1)
		go func() { thawed <- g.Thawed(watched) }()
		joins, stuck := b.Start("count", nil), b.Start("hang", nil)
		join := func(p *freezetest.Process) {
			freezetest.Put(filepath.Join(b.dir(), "cgroup.procs"), strconv.Itoa(p.PID()))
		}
		frozen := func() bool {
			s, err := g.State()
			return err == nil && s.Asked && s.Frozen
		}
		join(joins)
		freezetest.Until(t, "it is frozen with the new process", frozen)
		b.Still(joins)
		// One that cannot be frozen: the kernel says that the cgroup is not.
		join(stuck)
		freezetest.Until(t, "it is not frozen", func() bool { return !frozen() })
		b.Still(joins)
		select {
		case err := <-thawed:
			t.Errorf("taken for a thaw: %v", err)
		default:
		}
		mustThaw(t, g)
		if err := <-thawed; err != nil {
			t.Errorf("Thawed() = %v", err)
		}
		b.Moves(p)
		b.Moves(joins)
	},
	"already frozen": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		freezeByHand(t, b, b.dir())
		freezeAndThaw(t, b, b.find(), p)
	},
	"thawed by somebody else": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		g := b.find()
		mustFreeze(t, g)
		thawed := make(chan error, 1)
		go func() { thawed <- g.Thawed(t.Context()) }()
		freezetest.ThawTree(b.dir())
		if err := <-thawed; err != nil {
			t.Fatal(err)
		}
		b.Moves(p)
		freezeAndThaw(t, b, g, p)
	},
	"gone while it is watched": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		g := b.find()
		mustFreeze(t, g)
		thawed := make(chan error, 1)
		go func() { thawed <- g.Thawed(t.Context()) }()
		remove(t, b, p)
		if err := <-thawed; err != nil && !errors.Is(err, ErrGone) {
			t.Errorf("Thawed() = %v", err)
		}
		freezetest.Until(t, "the state says that it is gone", func() bool {
			_, err := g.State()
			return errors.Is(err, ErrGone)
		})
		if err := g.Freeze(t.Context()); !errors.Is(err, ErrGone) {
			t.Errorf("Freeze() = %v", err)
		}
		if err := g.Thaw(t.Context()); err != nil {
			t.Errorf("Thaw() = %v", err)
		}
		if _, err := g.PIDs(); !errors.Is(err, ErrGone) {
			t.Errorf("PIDs() = %v", err)
		}
		if _, err := b.node.Open(g.Version, g.Path); !errors.Is(err, ErrGone) {
			t.Errorf("Open() = %v", err)
		}
		// Another that takes its name is not it.
		for _, dir := range b.Dirs {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := g.State(); !errors.Is(err, ErrGone) {
			t.Errorf("State() of the old one = %v", err)
		}
	},
	"one that cannot be frozen runs again": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		b.Start("hang", b.Dirs)
		g := b.find()
		err := g.Freeze(t.Context())
		if !errors.Is(err, ErrNotFrozen) {
			t.Fatalf("Freeze() = %v", err)
		}
		t.Log(err)
		b.Moves(p)
		if s, err := g.State(); err != nil || s.Asked {
			t.Errorf("%+v, %v", s, err)
		}
	},
	"a caller who gives up": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		b.Start("hang", b.Dirs)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := b.find().Freeze(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotFrozen) {
			t.Fatalf("Freeze() = %v", err)
		}
		b.Moves(p)
	},
	"a frozen cgroup above": func(t *testing.T, b *bed) {
		p := b.Start("count", b.Dirs)
		g := b.find()
		mustFreeze(t, g)
		freezeByHand(t, b, filepath.Dir(b.dir()))
		if err := g.Thaw(t.Context()); !errors.Is(err, ErrFrozenAbove) {
			t.Errorf("Thaw() = %v", err)
		}
		if s, err := g.State(); err != nil || !s.Above || s.Asked {
			t.Errorf("%+v, %v", s, err)
		}
		freezetest.ThawTree(filepath.Dir(b.dir()))
		b.Moves(p)
	},
}

func freezeAndThaw(t *testing.T, b *bed, g *Group, p *freezetest.Process) {
	t.Helper()
	mustFreeze(t, g)
	b.Still(p)
	mustThaw(t, g)
	b.Moves(p)
}

func mustFreeze(t *testing.T, g *Group) {
	t.Helper()
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := g.State(); err != nil || !s.Asked || !s.Frozen {
		t.Fatalf("frozen, but the state is %+v, %v", s, err)
	}
}

func mustThaw(t *testing.T, g *Group) {
	t.Helper()
	if err := g.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := g.State(); err != nil || s.Asked || s.Above {
		t.Fatalf("thawed, but the state is %+v, %v", s, err)
	}
}

// freezeByHand is what a runtime's pause does.
func freezeByHand(t *testing.T, b *bed, dir string) {
	t.Helper()
	freezetest.Put(filepath.Join(dir, "cgroup.freeze"), "1")
	freezetest.Put(filepath.Join(dir, "freezer.state"), "FROZEN")
	freezetest.Until(t, "it is frozen", func() bool {
		if events, err := os.ReadFile(filepath.Join(dir, "cgroup.events")); err == nil {
			return isFrozen(string(events))
		}
		state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
		return err == nil && string(state) == "FROZEN\n"
	})
}

func stop(t *testing.T, p *freezetest.Process) {
	t.Helper()
	_ = p.Cmd.Process.Signal(unix.SIGSTOP)
	freezetest.Until(t, "it is stopped", func() bool { return stateOf(p.PID()) == "T" })
}

// stateOf is the letter that ps shows.
func stateOf(pid int) string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, after, ok := cutLast(string(stat), ")")
	if err != nil || !ok || len(after) < 2 {
		return ""
	}
	return after[1:2]
}

// trace calls f while this thread traces the process.
func trace(t *testing.T, p *freezetest.Process, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(p.PID()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.PtraceDetach(p.PID()) }()
	f()
}

// remove ends a container as a runtime does: in v1 it has to be thawed first.
func remove(t *testing.T, b *bed, p *freezetest.Process) {
	t.Helper()
	for _, dir := range b.Dirs {
		freezetest.Put(filepath.Join(dir, "cgroup.kill"), "1")
	}
	_ = p.Cmd.Process.Kill()
	freezetest.Put(filepath.Join(b.Dirs[1], "freezer.state"), "THAWED")
	for _, dir := range b.Dirs {
		freezetest.Until(t, "the container's cgroup is removed", func() bool { return freezetest.RemoveTree(dir) })
	}
}
