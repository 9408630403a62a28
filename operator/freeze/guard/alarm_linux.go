package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// alarm rings at a deadline on the clock of Now, also one that passed while the
// machine was asleep.
type alarm struct {
	fd    int
	until time.Duration // 0 before it is set
	rang  chan struct{}
}

func newAlarm() *alarm {
	a := &alarm{fd: -1, rang: make(chan struct{})}
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	if err != nil {
		return a // set says so
	}
	a.fd = fd
	go func() {
		buffer := make([]byte, 8)
		for {
			if n, err := unix.Read(fd, buffer); n == len(buffer) && err == nil {
				a.rang <- struct{}{}
			} else if err != nil && err != unix.EINTR {
				return
			}
		}
	}()
	return a
}

// past says whether the deadline, as it is set now, has passed.
func (a *alarm) past() bool { return a.until > 0 && Now() >= a.until }

// set moves the deadline.
func (a *alarm) set(until time.Duration) error {
	a.until = until
	at := unix.NsecToTimespec(max(1, until.Nanoseconds()))
	return unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &unix.ItimerSpec{Value: at}, nil)
}
