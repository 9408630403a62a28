//go:build !linux

package stage

import (
	"context"
	"syscall"
	"time"

	"understudy.dev/understudy/operator/tunnel"
)

// Main does nothing here: there are no other roles.
func Main() {}

// Check fails with ErrUnsupported.
func Check() error { return ErrUnsupported }

// Viewable fails with ErrUnsupported.
func Viewable() error { return ErrUnsupported }

// Split returns a front that cannot build a stage.
func Split(SplitOptions) (*Front, error) { return &Front{}, nil }

// Front of a command that stays in one process.
type Front struct{}

// Lost is never closed.
func (*Front) Lost() <-chan struct{} { return nil }

// Signals never brings any.
func (*Front) Signals() <-chan syscall.Signal { return nil }

// Build fails with ErrUnsupported.
func (*Front) Build(context.Context, Remote, Options) (*Stage, error) { return nil, ErrUnsupported }

// Stage is never made here.
type Stage struct{}

// Run fails with ErrUnsupported.
func (*Stage) Run(context.Context, Command) error { return ErrUnsupported }

// Wait fails with ErrUnsupported.
func (*Stage) Wait(context.Context) (Status, error) { return Status{}, ErrUnsupported }

// Signal fails with ErrUnsupported.
func (*Stage) Signal(syscall.Signal) error { return ErrUnsupported }

// End fails with ErrUnsupported.
func (*Stage) End(context.Context, time.Duration) error { return ErrUnsupported }

// Listening is empty.
func (*Stage) Listening() []Listening { return nil }

// SetWelcome fails with ErrUnsupported.
func (*Stage) SetWelcome(context.Context, tunnel.Welcome) error { return ErrUnsupported }

// SetLoopbackPorts fails with ErrUnsupported.
func (*Stage) SetLoopbackPorts(context.Context, []tunnel.Endpoint) error { return ErrUnsupported }

// RefreshMount fails with ErrUnsupported.
func (*Stage) RefreshMount(context.Context, tunnel.Mount) error { return ErrUnsupported }

// Close does nothing.
func (*Stage) Close() error { return nil }
