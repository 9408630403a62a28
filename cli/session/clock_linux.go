package session

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since some moment in the past; it goes on while the
// machine sleeps, which Go's own monotonic clock does not.
func sinceBoot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Since(loaded)
	}
	return time.Duration(now.Nano())
}

var loaded = time.Now()
