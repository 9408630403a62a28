package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// bell lets a wait in poll(2) end with a context.
type bell struct {
	fd   int
	stop func() bool
}

func newBell(ctx context.Context) (*bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("making an eventfd: %w", err)
	}
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(rung)
		_, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	return &bell{fd: fd, stop: func() bool {
		if stop() {
			return true
		}
		<-rung // before the descriptor's number is another's
		return false
	}}, nil
}

func (b *bell) close() {
	b.stop()
	unix.Close(b.fd)
}

// wait returns nil when fd has one of the events, or after the given time;
// forever if that is negative.
func (b *bell) wait(ctx context.Context, fd int, events int16, within time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(b.fd), Events: unix.POLLIN}}
	timeout := -1
	if within >= 0 {
		timeout = int(within.Milliseconds())
	}
	for {
		_, err := unix.Poll(fds, timeout)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
