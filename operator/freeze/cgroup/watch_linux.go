package cgroup

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// lookAnyway is how often a watch reads the state although nothing was heard.
const lookAnyway = time.Second

// Thawed returns nil when the container is not asked to be frozen any more,
// because somebody has thawed it. The error is ErrGone when it is gone, or the
// context's.
//
// That a frozen cgroup is not frozen for an instant, because a process joins it,
// is not a thaw.
func (g *Group) Thawed(ctx context.Context) error {
	bell, err := newBell(ctx)
	if err != nil {
		return err
	}
	defer bell.close()
	fd, events, heard, err := g.listen()
	if err != nil {
		return fmt.Errorf("watching %v: %w", g, goneOr(err))
	}
	defer unix.Close(fd)
	for {
		if err := heard(); err != nil {
			return fmt.Errorf("watching %v: %w", g, goneOr(err))
		}
		state, err := g.State()
		if err != nil {
			return err
		}
		if !state.Asked {
			return nil
		}
		if err := bell.wait(ctx, fd, events, lookAnyway); err != nil {
			return err
		}
	}
}

// listen opens what tells of a change: the descriptor, the events to poll for,
// and what to do when they came.
func (g *Group) listen() (fd int, events int16, heard func() error, err error) {
	buffer := make([]byte, 4096)
	if g.Version == V2 {
		fd, err = unix.Openat(int(g.dir.Fd()), "cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		return fd, unix.POLLPRI, func() error {
			_, err := unix.Pread(fd, buffer, 0)
			return err
		}, err
	}
	// Version 1 tells nobody, but who thaws has to write to the file.
	state, err := unix.Openat(int(g.dir.Fd()), "freezer.state", unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, 0, nil, err
	}
	defer unix.Close(state)
	fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, 0, nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(state), unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return -1, 0, nil, err
	}
	return fd, unix.POLLIN, func() error {
		_, err := unix.Read(fd, buffer)
		if err == unix.EAGAIN {
			return nil
		}
		return err
	}, nil
}
