package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on how long the kernel is waited for when the caller's context allows
// for more. A process that sleeps where it cannot be interrupted, on a network
// file system that does not answer, cannot be frozen.
const (
	freezeWithin = 3 * time.Second
	thawWithin   = 3 * time.Second
)

var (
	// ErrNotFrozen: the kernel did not confirm in time. It was thawed again.
	ErrNotFrozen = errors.New("not all of its processes could be frozen")
	// ErrFrozenAbove: a cgroup above is frozen, not by us; this one is not any
	// more, but that has no effect until the other is thawed.
	ErrFrozenAbove = errors.New("a cgroup above it is frozen")
)

// Freeze returns nil once the kernel confirms that every process of the
// container is frozen. One that is frozen already is taken over. On any error
// the container is thawed; the error is ErrGone if there is none any more.
func (g *Group) Freeze(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, freezeWithin)
	defer cancel()
	var err error
	if g.Version == V2 {
		err = g.freezeV2(within)
	} else {
		err = g.freezeV1(within)
	}
	if err = goneOr(err); err == nil || errors.Is(err, ErrGone) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%w within %v%s", ErrNotFrozen, freezeWithin, g.stuck())
	}
	if undo := g.Thaw(context.WithoutCancel(ctx)); undo != nil {
		err = errors.Join(err, undo)
	}
	return fmt.Errorf("freezing %v: %w", g, err)
}

// Thaw returns nil once the kernel confirms that the container runs, or that it
// is gone. It does not thaw what the container itself had frozen below it.
func (g *Group) Thaw(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, thawWithin)
	defer cancel()
	var err error
	if g.Version == V2 {
		err = g.thawV2(within)
	} else {
		err = g.thawV1(within)
	}
	if err = goneOr(err); err == nil || errors.Is(err, ErrGone) {
		return nil
	}
	return fmt.Errorf("thawing %v: %w", g, err)
}

func (g *Group) freezeV2(ctx context.Context) error {
	return g.untilEvents(ctx, func() error { return g.write("cgroup.freeze", "1") }, func(events string) (bool, error) {
		return isFrozen(events), nil
	})
}

func (g *Group) thawV2(ctx context.Context) error {
	return g.untilEvents(ctx, func() error { return g.write("cgroup.freeze", "0") }, func(events string) (bool, error) {
		if !isFrozen(events) {
			return true, nil
		}
		above, err := g.read("../cgroup.events")
		if err == nil && isFrozen(above) {
			err = ErrFrozenAbove
		}
		return false, err
	})
}

// untilEvents acts, and returns when enough is true of cgroup.events.
func (g *Group) untilEvents(ctx context.Context, act func() error, enough func(events string) (bool, error)) error {
	fd, err := unix.Openat(int(g.dir.Fd()), "cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	bell, err := newBell(ctx)
	if err != nil {
		return err
	}
	defer bell.close()
	if err := act(); err != nil {
		return err
	}
	buffer := make([]byte, 512)
	for {
		// Reading is also what arms the next poll.
		n, err := unix.Pread(fd, buffer, 0)
		if err != nil {
			return err
		}
		if ok, err := enough(string(buffer[:n])); ok || err != nil {
			return err
		}
		if err := bell.wait(ctx, fd, unix.POLLPRI, -1); err != nil {
			return err
		}
	}
}

// Version 1 gives no notice of having frozen; the kernel looks when it is asked.
const (
	firstLookV1 = 100 * time.Microsecond
	lastLookV1  = 10 * time.Millisecond
	// Processes that are created, or join, while the others freeze can keep the
	// kernel from finishing: writing again catches them, and letting all of them
	// run for an instant frees those that wait for each other.
	thawEvery = 50
)

func (g *Group) freezeV1(ctx context.Context) error {
	pause := firstLookV1
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for look := 1; ; look++ {
		if look%thawEvery == 0 {
			if err := g.write("freezer.state", "THAWED"); err != nil {
				return err
			}
		}
		if err := g.write("freezer.state", "FROZEN"); err != nil {
			return err
		}
		state, err := g.read("freezer.state")
		if err != nil {
			return err
		}
		if strings.TrimSpace(state) == "FROZEN" {
			return nil
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, lastLookV1)
	}
}

func (g *Group) thawV1(context.Context) error {
	if err := g.write("freezer.state", "THAWED"); err != nil {
		return err
	}
	state, err := g.stateV1()
	switch {
	case err != nil:
		return err
	case state.Above:
		return ErrFrozenAbove
	case state.Asked:
		return errors.New("the kernel took the write and did not thaw it")
	}
	return nil
}
