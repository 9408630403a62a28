// Package failure holds the one shape in which the command line tool tells a
// person that something went wrong: what, what to do next, and the exit code.
//
// Packages below cli return a *Failure for what a person can act on, and plain
// wrapped errors for everything else.
package failure

import (
	"errors"
	"fmt"
)

// Exit codes of understudy's own. The command's own code is passed through,
// and 128+N stands for a command that signal N ended: see docs/exit-codes.md.
const (
	// CodeBlocked: understudy plan has found something that stands in the way of
	// a session. Nothing failed.
	CodeBlocked = 2
	// CodeOwn is understudy's own failure: nothing was started, or the session
	// ended before the command did.
	CodeOwn = 125
	// CodeNotExecutable: the command was found but cannot be executed.
	CodeNotExecutable = 126
	// CodeNotFound: there is no such command on this machine.
	CodeNotFound = 127
	// CodeSignal is what the number of the signal that ended the command (or
	// understudy itself, before a command ran) is added to.
	CodeSignal = 128
)

// Failure is an error that a person is told of.
type Failure struct {
	// What went wrong, in one sentence without a full stop.
	What string
	// Hint says what to do next; it may have several lines, or be empty.
	Hint string
	// Code is the exit code; 0 stands for CodeOwn.
	Code int
	// Err is the cause, or nil. Its text is part of the message.
	Err error
}

// Error is What, with the cause's text after it.
func (f *Failure) Error() string {
	if f.Err == nil {
		return f.What
	}
	if f.What == "" {
		return f.Err.Error()
	}
	return f.What + ": " + f.Err.Error()
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// New makes a Failure of a sentence and a hint, with the exit code CodeOwn.
func New(hint, what string, args ...any) *Failure {
	return &Failure{What: fmt.Sprintf(what, args...), Hint: hint}
}

// Hint is the hint that goes with err: its own or one of its causes', the
// outermost first; empty when none has one.
func Hint(err error) string {
	var hinted interface{ Hint() string }
	for err != nil {
		var f *Failure
		if errors.As(err, &f) {
			if f.Hint != "" {
				return f.Hint
			}
			err = f.Err
			continue
		}
		if errors.As(err, &hinted) {
			return hinted.Hint()
		}
		return ""
	}
	return ""
}

// Code is the exit code that goes with err: 0 for nil, CodeOwn unless err or
// one of its causes says another.
func Code(err error) int {
	if err == nil {
		return 0
	}
	for err != nil {
		var f *Failure
		if !errors.As(err, &f) {
			break
		}
		if f.Code != 0 {
			return f.Code
		}
		err = f.Err
	}
	return CodeOwn
}
