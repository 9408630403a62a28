package command

import (
	"context"
	"errors"
	"fmt"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/stage"
)

// end undoes the session when no local process is left, shows that, and makes
// the exit code of it all. The cause is why the command was not run or ended
// by itself, or nil.
func (p *performance) end(ctx context.Context, status *stage.Status, cause error) error {
	p.playing.Store(false)
	var by interrupted
	byUser := errors.As(cause, &by)
	if cause != nil && !byUser {
		// The reason comes first: undoing may take a while.
		p.out.Error(cause)
	}
	doing := "ending the session"
	if p.rests() {
		doing = "putting " + p.target.String() + " back"
	}
	waited := false
	if state, _ := p.follow.State(); state.Queued() != nil {
		doing, waited = "leaving the queue for "+p.target.String(), true
	}
	step := p.out.Step(doing)
	state, err := p.undo(ctx, step.Wait)
	if err != nil {
		step.Done("")
		return p.left(err)
	}
	if waited && state.Outcome() == "" {
		step.Done("left the queue for " + p.target.String())
	} else {
		step.Done(finale(state, p.target.String()))
	}
	switch {
	case byUser:
		return quiet{failure.CodeSignal + int(by.signal)}
	case cause != nil:
		if status == nil {
			p.out.Notice("nothing of the session is left in the cluster")
		}
		return quiet{failure.Code(cause)}
	}
	return quiet{status.ExitCode()}
}

// left is the error of leaving before the workload was seen to be back.
func (p *performance) left(err error) error {
	if p.plan != nil {
		return p.leftAlone(err)
	}
	code := failure.CodeOwn
	var by interrupted
	back := p.target.String() + " is back"
	what := fmt.Sprintf("left before %s was seen to be back", p.target)
	if p.target.None() {
		back, what = "the session has ended", "left before the session was seen to have ended"
	}
	switch {
	case errors.As(err, &by):
		code = failure.CodeSignal + int(by.signal)
	case errors.Is(err, session.ErrNoNews):
		what = "the cluster does not say that " + back
	}
	name := ""
	if p.session != nil { // else it was left while it was being made
		name = " " + p.session.Name
	}
	return &failure.Failure{
		What: what, Code: code, Err: plain(err),
		Hint: fmt.Sprintf("the cluster goes on undoing it by itself; see: understudy sessions%s -n %s", name, p.client.Namespace),
	}
}

// plain leaves out what the message says already.
func plain(err error) error {
	var by interrupted
	if errors.As(err, &by) || errors.Is(err, session.ErrNoNews) {
		return nil
	}
	return err
}
