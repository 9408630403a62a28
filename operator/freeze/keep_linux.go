package freeze

import (
	"context"
	"errors"
	"fmt"
	"time"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/guard"
)

// keepFrozen freezes a container again as often as somebody thaws it, until it
// is gone or the hold ends.
func (h *Hold) keepFrozen(c cgroup.Container, group *cgroup.Group) {
	defer group.Close()
	ctx := h.held
	for {
		err := group.Thawed(ctx)
		if err == nil {
			err = h.freezeAgain(ctx, c, group)
		}
		switch {
		case ctx.Err() != nil || h.Err() != nil || errors.Is(err, errLet):
			return
		case errors.Is(err, cgroup.ErrGone):
			h.forget(ctx, c)
			h.o.Notice(Notice{Kind: NoticeGone, Container: c})
			return
		case err != nil:
			h.trouble(ctx, c, err)
		}
	}
}

// errLet: the hold itself has thawed the container, by LetEnd.
var errLet = errors.New("the container is let end")

// freezeAgain undoes another's thaw, but not the guard's at the lease's end.
func (h *Hold) freezeAgain(ctx context.Context, c cgroup.Container, group *cgroup.Group) error {
	if guard.Now() >= h.deadline() {
		h.wakeClock()
		<-ctx.Done()
		return ctx.Err()
	}
	h.doing.Lock()
	defer h.doing.Unlock()
	if err := h.Err(); err != nil {
		return err
	}
	if h.groups[c] != group {
		return errLet
	}
	if h.guard.HasExpired() {
		return h.expire()
	}
	if err := group.Freeze(ctx); err != nil {
		return err
	}
	h.o.Notice(Notice{Kind: NoticeRefrozen, Container: c})
	return nil
}

// forget takes a container that is gone out of what is held, so that neither the
// record nor the guard grows with each restart.
func (h *Hold) forget(ctx context.Context, c cgroup.Container) {
	h.doing.Lock()
	defer h.doing.Unlock()
	if h.Err() != nil {
		return
	}
	delete(h.groups, c)
	if err := h.tell(ctx, h.without(c)); err != nil && ctx.Err() == nil {
		h.o.Notice(Notice{Kind: NoticeTrouble, Container: c, Error: err})
	}
}

// trouble says what does not succeed, and waits before it is tried again.
func (h *Hold) trouble(ctx context.Context, c cgroup.Container, err error) {
	h.o.Log.Error("holding what is frozen", "container", c.ID, "error", err)
	h.o.Notice(Notice{Kind: NoticeTrouble, Container: c, Error: err})
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// guardAttempts is how often making another guard is tried, a second apart,
// before the hold ends rather than being held by the agent alone.
const guardAttempts = 5

// keepGuard makes another guard when the one that there is has ended.
func (h *Hold) keepGuard() {
	ctx := h.held
	for {
		h.mu.Lock()
		g := h.guard
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-g.Expired():
			_ = h.expire()
			return
		case <-g.Ended():
		}
		if err := h.replaceGuard(ctx, g); err != nil && ctx.Err() == nil {
			go func() { _ = h.end(context.WithoutCancel(ctx), fmt.Errorf("%w: %w", ErrUnguarded, err)) }()
			return
		}
	}
}

func (h *Hold) replaceGuard(ctx context.Context, dead *guard.Guard) (err error) {
	for range guardAttempts {
		h.doing.Lock()
		if h.guard != dead || h.Err() != nil || guard.Now() >= h.deadline() {
			h.doing.Unlock()
			return nil // somebody was faster, or there is nothing left to guard
		}
		if dead.HasExpired() {
			h.doing.Unlock()
			_ = h.expire()
			return nil
		}
		dead.Dismiss(ctx)
		err = h.makeGuard(ctx)
		h.doing.Unlock()
		if err == nil {
			h.o.Log.Warn("the guard had ended, there is another", "was", dead.Process.PID)
			h.o.Notice(Notice{Kind: NoticeGuardReplaced})
			return nil
		}
		h.trouble(ctx, cgroup.Container{}, err)
	}
	return err
}

// expire brings the deadline forward to now, from where Renew cannot move it: the
// guard, which has heard of no later one, is undoing already. It has taken the
// fence away or will, and there is nobody left to thaw.
func (h *Hold) expire() error {
	h.mu.Lock()
	h.until = min(h.until, guard.Now())
	h.mu.Unlock()
	h.wakeClock()
	return ErrExpired
}

func (h *Hold) wakeClock() {
	select {
	case h.renewed <- struct{}{}:
	default:
	}
}

// keepTime ends the hold when the lease has run out.
func (h *Hold) keepTime() {
	ctx := h.held
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := h.deadline() - guard.Now()
		if left <= 0 {
			break
		}
		timer.Reset(left)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-h.renewed:
		}
	}
	for ctx := context.WithoutCancel(ctx); ; {
		err := h.end(ctx, ErrExpired)
		if err == nil {
			return
		}
		h.o.Log.Error("ending a hold whose lease has run out, to be tried again", "error", err)
		<-time.After(time.Second)
	}
}
