package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

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
	// stayed: it has not ended, and is frozen again.
	stayed bool
	// ignored are the signals that still waited then: it blocks them.
	ignored uint64
}

// settle is what the kubelet takes beside the grace period.
const settle = 2 * time.Second

// heed lets a container end that was told to, and freezes it again when it has not.
// It answers why the session cannot go on, if it cannot.
func (f *frozen) heed(ctx context.Context, pids []int) (end string) {
	if f.attaches() {
		return "" // one that runs takes its signals itself
	}
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	signals, name := toldToEnd(pids)
	if l := f.leaving; l != nil {
		switch {
		case !l.stayed && time.Now().Before(l.until):
			return ""
		case !l.stayed:
			err := f.hold.Freeze(ctx, target)
			if errors.Is(err, cgroup.ErrGone) {
				return ""
			}
			if err != nil {
				return fmt.Sprintf("the container was sent %s, has not ended, and cannot be frozen again: %v", l.signal, err)
			}
			f.log.Warn("frozen again: the container was told to end and has not", "container", target.ID, "signal", l.signal)
			l.stayed, l.ignored = true, signals&^(1<<(unix.SIGKILL-1)) // which nobody blocks
			return ""
		}
		signals &^= l.ignored
	}
	if signals == 0 {
		return ""
	}
	// Who asks the agent to end meanwhile waits for it: half of it is no state to end in.
	letting, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	if err := f.hold.LetEnd(letting, target); err != nil {
		if f.hold.Err() != nil {
			return "" // it has ended by itself, and says why
		}
		return fmt.Sprintf("the container was sent %s, and cannot be thawed alone: %v", name, err)
	}
	grace := time.Duration(f.config.Freeze.GraceSeconds) * time.Second
	f.log.Info("thawed: the container was told to end", "container", target.ID, "signal", name)
	f.leaving = &leaving{signal: name, until: time.Now().Add(grace + settle)}
	return ""
}
