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
)

// TestConformance is what both versions of the freezer have to do, with real
// processes. A container of a hybrid machine is in both hierarchies.
func TestConformance(t *testing.T) {
	for _, machine := range []struct {
		name    string
		in      []Version
		version Version
	}{
		{"v1", []Version{V1}, V1},
		{"v2", []Version{V2}, V2},
		{"hybrid/v1", []Version{V1, V2}, V1},
		{"hybrid/v2", []Version{V1, V2}, V2},
	} {
		t.Run(machine.name, func(t *testing.T) {
			for name, test := range conformance {
				t.Run(name, func(t *testing.T) {
					b := makeBed(t, machine.in...)
					b.node.Version = machine.version
					test(t, b)
				})
			}
		})
	}
}

var conformance = map[string]func(t *testing.T, b *bed){
	"one process": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		freezeAndThaw(t, b, b.find(), p)
	},
	"processes that fork while they are frozen": func(t *testing.T, b *bed) {
		p := b.start("fork", b.dirs)
		g := b.find()
		for range 20 {
			freezeAndThaw(t, b, g, p)
		}
	},
	"many threads": func(t *testing.T, b *bed) {
		p := b.start("threads", b.dirs)
		freezeAndThaw(t, b, b.find(), p)
	},
	"many processes": func(t *testing.T, b *bed) {
		var players []*player
		for range 20 {
			players = append(players, b.start("count", b.dirs))
		}
		g := b.find()
		if pids, err := g.PIDs(); err != nil || len(pids) != len(players) {
			t.Fatalf("%d processes listed, %v", len(pids), err)
		}
		mustFreeze(t, g)
		for _, p := range players {
			b.still(p)
		}
		mustThaw(t, g)
		for _, p := range players {
			b.moves(p)
		}
	},
	"a stopped process": func(t *testing.T, b *bed) {
		p, stopped := b.start("count", b.dirs), b.start("count", b.dirs)
		stop(t, stopped)
		g := b.find()
		freezeAndThaw(t, b, g, p)
		if state := stateOf(stopped.cmd.Process.Pid); state != "T" {
			t.Errorf("the stopped process is %q after the thaw", state)
		}
		mustFreeze(t, g)
		_ = stopped.cmd.Process.Signal(unix.SIGCONT)
		b.still(stopped)
		mustThaw(t, g)
		b.moves(stopped)
	},
	"a traced process": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		trace(t, p, func() { freezeAndThaw(t, b, b.find(), p) })
	},
	"a process that its tracer has stopped": func(t *testing.T, b *bed) {
		p, other := b.start("count", b.dirs), b.start("count", b.dirs)
		trace(t, p, func() {
			pid := p.cmd.Process.Pid
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
			b.moves(p)
		})
	},
	"cgroups below it": func(t *testing.T, b *bed) {
		inner := map[Version]string{}
		for v, dir := range b.dirs {
			inner[v] = filepath.Join(dir, "system.slice", "a.service")
			if err := os.MkdirAll(inner[v], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		deep := b.start("count", inner)
		g := b.find() // its only process is deeper
		top := b.start("count", b.dirs)
		mustFreeze(t, g)
		b.still(deep)
		b.still(top)
		if pids, err := g.PIDs(); err != nil || len(pids) != 2 {
			t.Errorf("%v, %v", pids, err)
		}
		mustThaw(t, g)
		b.moves(deep)
		b.moves(top)
	},
	"a cgroup below it that is frozen by itself": func(t *testing.T, b *bed) {
		inner := map[Version]string{}
		for v, dir := range b.dirs {
			inner[v] = filepath.Join(dir, "inner")
			if err := os.Mkdir(inner[v], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		deep, top := b.start("count", inner), b.start("count", b.dirs)
		freezeByHand(t, b, inner[b.node.Version])
		freezeAndThaw(t, b, b.find(), top)
		b.still(deep) // as it was
	},
	"an empty cgroup": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		g := b.find()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		until(t, "the cgroup is empty", func() bool {
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
		p := b.start("count", b.dirs)
		g := b.find()
		mustFreeze(t, g)
		watched, stop := context.WithCancel(t.Context())
		defer stop()
		thawed := make(chan error, 1)
		go func() { thawed <- g.Thawed(watched) }()
		joins := b.start("count", nil)
		put(filepath.Join(b.dirs[b.node.Version], "cgroup.procs"), strconv.Itoa(joins.cmd.Process.Pid))
		until(t, "it is frozen with the new process", func() bool {
			s, err := g.State()
			return err == nil && s.Frozen
		})
		b.still(joins)
		select {
		case err := <-thawed:
			t.Errorf("taken for a thaw: %v", err)
		default:
		}
		mustThaw(t, g)
		b.moves(p)
		b.moves(joins)
	},
	"already frozen": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		freezeByHand(t, b, b.dirs[b.node.Version])
		freezeAndThaw(t, b, b.find(), p)
	},
	"thawed by somebody else": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		g := b.find()
		mustFreeze(t, g)
		thawed := make(chan error, 1)
		go func() { thawed <- g.Thawed(t.Context()) }()
		thawTree(b.dirs[b.node.Version])
		if err := <-thawed; err != nil {
			t.Fatal(err)
		}
		b.moves(p)
		freezeAndThaw(t, b, g, p)
	},
	"gone while it is watched": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		g := b.find()
		mustFreeze(t, g)
		thawed := make(chan error, 1)
		go func() { thawed <- g.Thawed(t.Context()) }()
		remove(t, b, p)
		if err := <-thawed; err != nil && !errors.Is(err, ErrGone) {
			t.Errorf("Thawed() = %v", err)
		}
		until(t, "the state says that it is gone", func() bool {
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
		for _, dir := range b.dirs {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := g.State(); !errors.Is(err, ErrGone) {
			t.Errorf("State() of the old one = %v", err)
		}
	},
	"one that cannot be frozen runs again": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		b.start("hang", b.dirs)
		g := b.find()
		err := g.Freeze(t.Context())
		if !errors.Is(err, ErrNotFrozen) {
			t.Fatalf("Freeze() = %v", err)
		}
		t.Log(err)
		b.moves(p)
		if s, err := g.State(); err != nil || s.Asked {
			t.Errorf("%+v, %v", s, err)
		}
	},
	"a caller who gives up": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		b.start("hang", b.dirs)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := b.find().Freeze(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotFrozen) {
			t.Fatalf("Freeze() = %v", err)
		}
		b.moves(p)
	},
	"a frozen cgroup above": func(t *testing.T, b *bed) {
		p := b.start("count", b.dirs)
		g := b.find()
		mustFreeze(t, g)
		freezeByHand(t, b, filepath.Dir(b.dirs[b.node.Version]))
		if err := g.Thaw(t.Context()); !errors.Is(err, ErrFrozenAbove) {
			t.Errorf("Thaw() = %v", err)
		}
		if s, err := g.State(); err != nil || !s.Above || s.Asked {
			t.Errorf("%+v, %v", s, err)
		}
		thawTree(filepath.Dir(b.dirs[b.node.Version]))
		b.moves(p)
	},
}

func freezeAndThaw(t *testing.T, b *bed, g *Group, p *player) {
	t.Helper()
	mustFreeze(t, g)
	b.still(p)
	mustThaw(t, g)
	b.moves(p)
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
	put(filepath.Join(dir, "cgroup.freeze"), "1")
	put(filepath.Join(dir, "freezer.state"), "FROZEN")
	until(t, "it is frozen", func() bool {
		if events, err := os.ReadFile(filepath.Join(dir, "cgroup.events")); err == nil {
			return isFrozen(string(events))
		}
		state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
		return err == nil && string(state) == "FROZEN\n"
	})
}

func stop(t *testing.T, p *player) {
	t.Helper()
	_ = p.cmd.Process.Signal(unix.SIGSTOP)
	until(t, "it is stopped", func() bool { return stateOf(p.cmd.Process.Pid) == "T" })
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
func trace(t *testing.T, p *player, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(p.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.PtraceDetach(p.cmd.Process.Pid) }()
	f()
}

// remove ends a container as a runtime does: in v1 it has to be thawed first.
func remove(t *testing.T, b *bed, p *player) {
	t.Helper()
	for _, dir := range b.dirs {
		put(filepath.Join(dir, "cgroup.kill"), "1")
	}
	_ = p.cmd.Process.Kill()
	put(filepath.Join(b.dirs[V1], "freezer.state"), "THAWED")
	for _, dir := range b.dirs {
		until(t, "the container's cgroup is removed", func() bool { return removeTree(dir) })
	}
}
