//go:build !linux

package session

import "time"

var loaded = time.Now().Round(0)

// sinceBoot is the time since some moment in the past, by the wall clock: that
// one goes on while the machine sleeps.
func sinceBoot() time.Duration { return time.Now().Round(0).Sub(loaded) }
