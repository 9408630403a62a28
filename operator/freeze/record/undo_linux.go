package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"understudy.dev/understudy/operator/freeze/cgroup"
)

// Cleanup takes away what a session has put into its pod's network namespace.
// It runs in another process than the one that put it there, it may run when
// there is nothing and more than once, and at the same time as another's.
type Cleanup func(ctx context.Context, session string, netns *os.File) error

// Undoer undoes.
type Undoer struct {
	Node     cgroup.Node
	Cleanups []Cleanup
}

// cleanupAhead is what clean-ups have before the containers are thawed all the
// same. Who wakes behind a fence is refused what it tries to connect to at once.
const cleanupAhead = 500 * time.Millisecond

// Undo takes away the fence and thaws; what is gone is undone. Where one thing
// fails the others are done. netns is the pod's network namespace, or nil to
// look for it.
func (u Undoer) Undo(ctx context.Context, r Record, netns *os.File) error {
	cleaned := make(chan error, 1)
	go func() { cleaned <- u.clean(ctx, r, netns) }()
	var errs []error
	timer := time.NewTimer(cleanupAhead)
	defer timer.Stop()
	waiting := true
	select {
	case err := <-cleaned:
		errs, waiting = append(errs, err), false
	case <-timer.C:
	}
	for _, frozen := range r.Frozen {
		errs = append(errs, u.thaw(ctx, frozen))
	}
	if waiting {
		select {
		case err := <-cleaned:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("cleaning up after session %s: %w", r.Session, ctx.Err()))
		}
	}
	return errors.Join(errs...)
}

// Frozen counts which containers of a record the kernel says are frozen, or was
// asked to freeze.
func (u Undoer) Frozen(r Record) int {
	count := 0
	for _, frozen := range r.Frozen {
		group, err := u.Node.Open(frozen.Version, frozen.Path)
		if err != nil {
			continue // gone
		}
		if state, err := group.State(); err == nil && (state.Asked || state.Frozen) {
			count++
		}
		group.Close()
	}
	return count
}

func (u Undoer) clean(ctx context.Context, r Record, netns *os.File) error {
	if len(u.Cleanups) == 0 {
		return nil
	}
	if netns == nil {
		found, err := u.Node.NetworkNamespace(r.PodUID)
		if errors.Is(err, cgroup.ErrGone) {
			return nil // and with it all that was in there
		}
		if err != nil {
			return err
		}
		defer found.Close()
		netns = found
	}
	var errs []error
	for _, clean := range u.Cleanups {
		if err := clean(ctx, r.Session, netns); err != nil {
			errs = append(errs, fmt.Errorf("cleaning up after session %s: %w", r.Session, err))
		}
	}
	return errors.Join(errs...)
}

func (u Undoer) thaw(ctx context.Context, frozen Frozen) error {
	group, err := u.Node.Open(frozen.Version, frozen.Path)
	if errors.Is(err, cgroup.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer group.Close()
	return group.Thaw(ctx)
}
