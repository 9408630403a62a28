package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze"
	"understudy.dev/understudy/operator/freeze/cgroup"
)

// endSignals are those by which a container is asked to end. SIGHUP asks to read a
// configuration again, and SIGINT comes from a terminal: to end the session for
// these would have the pod read again though nobody wants its end. SIGKILL is seen
// to wait in version 1 of the freezer only.
var endSignals = []unix.Signal{unix.SIGTERM, unix.SIGKILL, unix.SIGQUIT}

// toldToEnd are the signals that wait for the container's first process, by which
// the kubelet ends it, the first of them by name too; 0 for none. What is frozen
// cannot take them, and would end by force at the end of its grace period only.
func toldToEnd(pids []int) (signals uint64, name string) {
	first := firstOf(pids)
	if first == 0 {
		return 0, ""
	}
	pending, err := pendingSignals(fmt.Sprintf("/proc/%d/status", first))
	if err != nil {
		return 0, ""
	}
	for _, signal := range endSignals {
		if bit := uint64(1) << (signal - 1); pending&bit != 0 {
			signals |= bit
			name = cmp.Or(name, unix.SignalName(signal))
		}
	}
	return signals, name
}

// leaving is a container that was told to end: it runs, so that it ends as its
// application wants, behind the fence, and without the connections that it had.
// What the kubelet starts in its place is frozen as after any other end; that its
// pod goes with it is the session's end, and said by whoever looks at pods.
type leaving struct {
	signal string
	// until it has to be gone; one that lives on is frozen again.
	until time.Time
	// stayed: it has not ended and is frozen again, or could not be let end.
	stayed bool
	// ignored are the signals that waited then.
	ignored uint64
}

// settle is what the kubelet takes beside the grace period.
const settle = 2 * time.Second

// heed lets a container end that was told to, and freezes it again when it has not.
// The error is why the session cannot go on.
func (f *frozen) heed(ctx context.Context, pids []int) error {
	if f.attaches() {
		return nil // one that runs takes its signals itself
	}
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	signals, name := toldToEnd(pids)
	if l := f.leaving; l != nil {
		switch {
		case !l.stayed && time.Now().Before(l.until):
			return nil
		case !l.stayed:
			err := f.hold.Freeze(ctx, target)
			if errors.Is(err, cgroup.ErrGone) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("the container was sent %s, has not ended, and cannot be frozen again: %w", l.signal, err)
			}
			f.log.Warn("frozen again: the container was told to end and has not", "container", target.ID, "signal", l.signal)
			f.stays(l.signal, signals)
			return nil
		}
		signals &^= l.ignored
	}
	if signals == 0 {
		return nil
	}
	// Who asks the agent to end meanwhile waits for it: half of it is no state to end
	// in. Each of its steps has a bound of its own.
	err := f.hold.LetEnd(context.WithoutCancel(ctx), target, signals&killed != 0)
	if errors.Is(err, freeze.ErrStillFrozen) && signals&killed == 0 {
		f.log.Warn("not thawed, though the container was told to end, until it is killed", "container", target.ID, "signal", name, "error", err)
		f.stays(name, signals)
		return nil
	}
	if err != nil {
		return fmt.Errorf("the container was sent %s, and cannot be thawed alone: %w", name, err)
	}
	grace := time.Duration(f.config.Freeze.GraceSeconds) * time.Second
	f.log.Info("thawed: the container was told to end", "container", target.ID, "signal", name)
	f.leaving = &leaving{signal: name, until: time.Now().Add(grace + settle)}
	return nil
}

// killed is the signal that ends a process before it runs on.
const killed = uint64(1) << (unix.SIGKILL - 1)

// stays notes that a container that was told to end is frozen all the same, and that
// the signals that wait now are not to be heeded, save the one that nobody can block.
func (f *frozen) stays(signal string, signals uint64) {
	f.leaving = &leaving{signal: signal, stayed: true, ignored: signals &^ killed}
}
