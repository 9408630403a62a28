package config

import (
	"errors"
	"time"
)

// seconds is a flag's time, which may be a number of seconds as in a file.
type seconds time.Duration

func (s *seconds) String() string { return time.Duration(*s).String() }

// Set reads one.
func (s *seconds) Set(text string) error {
	d, ok := duration(text)
	if !ok {
		return errors.New("expected is " + aTime)
	}
	*s = seconds(d)
	return nil
}

// Type is what the help calls it.
func (*seconds) Type() string { return "duration" }
