package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"understudy.dev/understudy/operator/tunnel/mux"
	"understudy.dev/understudy/operator/tunnel/replay"
)

// More that a tunnel can come to; test with errors.Is.
var (
	// ErrReset: the connection was reset at its other end.
	ErrReset = errors.New("connection reset by peer")
	// ErrIdentity: the other end does not have the key that it must have, or
	// refuses this end's.
	ErrIdentity = errors.New("the other end is not who it must be")
	// ErrSuperseded: the owner's end was started again, with the same key.
	ErrSuperseded = replay.ErrSuperseded
	// ErrNotFound: no such mount.
	ErrNotFound = errors.New("no such mount")
	// ErrChanging: the mount's content kept changing while it was read.
	ErrChanging = errors.New("the content changed while it was read")
	// ErrTooLarge: a tree or file is beyond the limits of this package.
	ErrTooLarge = errors.New("larger than the tunnel carries")
	// ErrBusy: the agent holds as many connections as it takes.
	ErrBusy = errors.New("too many connections")
	// ErrProtocol: the other end broke the protocol.
	ErrProtocol = errors.New("protocol error")
	// ErrSession: the agent serves another session.
	ErrSession = errors.New("the agent serves another session")
)

// VersionError says that the two ends speak different versions of the tunnel,
// and which. No retry mends it.
type VersionError = replay.VersionError

// Status is how a stream's opener is answered.
type Status byte

// The statuses, as on the wire.
const (
	statusOK          Status = 0
	statusRefused     Status = 1
	statusUnreachable Status = 2
	statusTimeout     Status = 3
	statusForbidden   Status = 4
	statusInUse       Status = 5
	statusNotFound    Status = 6
	statusChanging    Status = 7
	statusTooLarge    Status = 8
	statusSession     Status = 9
	statusVersion     Status = 10
	statusProtocol    Status = 11
	statusInternal    Status = 12
	statusBusy        Status = 13
	statusFile        Status = 14 // with an errno
)

var statusErrors = map[Status]error{
	statusRefused:     ErrRefused,
	statusUnreachable: ErrUnreachable,
	statusTimeout:     ErrTimeout,
	statusForbidden:   ErrForbidden,
	statusInUse:       ErrInUse,
	statusNotFound:    ErrNotFound,
	statusChanging:    ErrChanging,
	statusTooLarge:    ErrTooLarge,
	statusSession:     ErrSession,
	statusProtocol:    ErrProtocol,
	statusBusy:        ErrBusy,
}

// statusOf is the status that says err to the other end.
func statusOf(err error) Status {
	if err == nil {
		return statusOK
	}
	for status, sentinel := range statusErrors {
		if errors.Is(err, sentinel) {
			return status
		}
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return statusRefused
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, context.DeadlineExceeded):
		return statusTimeout
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT),
		// What a firewall's "administratively prohibited" comes out as.
		errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return statusUnreachable
	case errors.Is(err, syscall.EADDRINUSE):
		return statusInUse
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS):
		return statusBusy
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return statusTimeout
	}
	return statusInternal
}

// errorOf is the other end's status as an error here.
func errorOf(status Status, message string) error {
	sentinel, known := statusErrors[status]
	switch {
	case status == statusOK:
		return nil
	case !known && message == "":
		return fmt.Errorf("the other end answers with status %d", status)
	case !known:
		return errors.New(message)
	case message == "" || message == sentinel.Error():
		return sentinel
	}
	return &saidError{sentinel: sentinel, message: message}
}

// saidError is a known error with the other end's own words.
type saidError struct {
	sentinel error
	message  string
}

func (e *saidError) Error() string { return e.message }
func (e *saidError) Unwrap() error { return e.sentinel }

// streamError says in this package's words how a stream has failed.
func streamError(err error) error {
	if err == nil {
		return nil
	}
	if reset, ok := errors.AsType[*mux.ResetError](err); ok {
		switch {
		case reset.Code == mux.CodeTooMany:
			return ErrBusy
		case reset.Code == mux.CodeRefused:
			return ErrRefused
		case !reset.Remote:
			return net.ErrClosed
		}
		return ErrReset
	}
	switch {
	case errors.Is(err, mux.ErrStopped):
		return syscall.EPIPE
	case errors.Is(err, mux.ErrStreamClosed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}
