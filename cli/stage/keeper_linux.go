package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/cue"
)

// Front is the process that the shell started and waits for, as the keeper has
// it.
type Front struct {
	line    *cue.Line
	lost    chan struct{}
	signals chan syscall.Signal
	built   chan frontMessage
	// building: the front answers one request at a time.
	building sync.Mutex
}

// pendingSignals that nobody has read; more of them say nothing new.
const pendingSignals = 16

func newFront(r role) (*Front, error) {
	line, err := openLine(r.Line)
	if err != nil {
		return nil, err
	}
	f := &Front{line: line, lost: make(chan struct{}), signals: make(chan syscall.Signal, pendingSignals), built: make(chan frontMessage, 1)}
	// What the terminal sends is for the foreground. The stops are ignored, as
	// a background process that writes to the terminal may get them; the others
	// are caught rather than ignored, so that programs started from here (for
	// credentials) have them as usual.
	signal.Ignore(unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTERM)
	go func() {
		for got := range caught {
			if got == unix.SIGTERM { // somebody meant this process
				f.signal(unix.SIGTERM)
			}
		}
	}()
	var hello frontMessage
	if _, err := line.Receive(&hello); err != nil {
		return nil, errors.Join(ErrFrontLost, err)
	}
	go f.listen()
	return f, nil
}

func (f *Front) signal(signal syscall.Signal) {
	select {
	case f.signals <- signal:
	default:
	}
}

func (f *Front) listen() {
	defer close(f.lost)
	for {
		var message frontMessage
		if _, err := f.line.Receive(&message); err != nil {
			return
		}
		switch {
		case message.Signal != 0:
			f.signal(message.Signal)
		case message.Hand != 0 || message.Errno != 0:
			select {
			case f.built <- message:
			default:
			}
		}
	}
}

// Lost is closed when the front is gone, and with it the command. The session
// is to be ended as ever.
func (f *Front) Lost() <-chan struct{} { return f.lost }

// Signals are SIGHUP, SIGINT, SIGQUIT and SIGTERM that the user sent while no
// command ran; and SIGTERM that was sent to the keeper itself, at any time.
func (f *Front) Signals() <-chan syscall.Signal { return f.signals }

// startHand asks the front for a hand: the command must descend from it.
func (f *Front) startHand(ctx context.Context) (*cue.Line, int, error) {
	f.building.Lock()
	defer f.building.Unlock()
	line, far, err := cue.Pair()
	if err != nil {
		return nil, 0, err
	}
	err = f.line.Send(frontMessage{Build: true}, far)
	far.Close()
	if err != nil {
		line.Close()
		return nil, 0, errors.Join(ErrFrontLost, err)
	}
	select {
	case answer := <-f.built:
		if answer.Hand != 0 {
			return line, answer.Hand, nil
		}
		err = answer.Errno
		if forbidding(answer.Errno) {
			err = explain(answer.Errno)
		}
	case <-f.lost:
		err = ErrFrontLost
	case <-ctx.Done():
		err = ctx.Err()
	}
	line.Close()
	return nil, 0, fmt.Errorf("making namespaces: %w", err)
}
