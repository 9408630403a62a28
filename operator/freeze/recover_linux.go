package freeze

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/guard"
	"understudy.dev/understudy/operator/freeze/record"
)

// guardsTurn is how long a guard is left to do what it is there for.
const guardsTurn = 5 * time.Second

// Recover undoes what the records in dir say of agents that are no more, and
// returns those that it has undone. To be called when an agent starts, before
// it does anything. Agents that live are left alone.
func Recover(ctx context.Context, dir record.Dir, undoer record.Undoer) ([]record.Record, error) {
	records, err := dir.List()
	errs := []error{err}
	var undone []record.Record
	for _, r := range records {
		if r.Agent.Lives() {
			continue
		}
		// A guard that lives is at it already, and must not thaw what is frozen
		// after this.
		awaitEnd(ctx, r.Guard)
		if _, err := dir.Read(r.Session); err != nil {
			continue // the guard has
		}
		if err := Undo(ctx, dir, undoer, r); err != nil {
			errs = append(errs, err)
			continue
		}
		undone = append(undone, r)
	}
	guard.Sweep(undoer.Node)
	return undone, errors.Join(errs...)
}

// Undo undoes one record and takes it away, whether or not its agent lives: what
// an administrator asks for by hand. An agent that lives would freeze again; it
// has to be ended first.
func Undo(ctx context.Context, dir record.Dir, undoer record.Undoer, r record.Record) error {
	err := undoer.Undo(ctx, r, nil)
	if err == nil {
		err = dir.Remove(r.Session)
	}
	if err != nil {
		return fmt.Errorf("undoing session %s: %w", r.Session, err)
	}
	return nil
}

// awaitEnd returns when the process has ended, after guardsTurn at the latest;
// then it is killed, so that it cannot undo later what comes after it.
func awaitEnd(ctx context.Context, p record.Process) {
	if !p.Lives() {
		return
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	end := time.Now().Add(guardsTurn)
	for p.Lives() && ctx.Err() == nil {
		left := time.Until(end)
		if left <= 0 {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			left = time.Second
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(left.Milliseconds())+1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
