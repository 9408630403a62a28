package command

import (
	"context"
	"fmt"
	"time"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/tunnel"
)

// linked is told when the connection to the stand-in comes and goes.
func (p *performance) linked(up bool, err error) {
	switch {
	case up:
		if lasted := p.unlinked.end(); lasted != "" && p.playing.Load() {
			p.out.Notice("the connection to %s is back after %s", p.far(), lasted)
		}
	case p.unlinked.begin() && p.playing.Load():
		p.follow.Refresh()
		p.out.Notice("the connection to %s is lost (%v); trying again", p.far(), err)
	default:
		p.out.Detail("no connection to %s: %v", p.far(), err)
	}
}

// followFor is how long the stage has to be brought up to a new stand-in.
const followFor = 30 * time.Second

// restarted is told when there is another agent, at any time from the first
// connection on. The newest welcome is kept for changes, which brings the stage
// up to it.
func (p *performance) restarted(welcome tunnel.Welcome) {
	for {
		select {
		case p.restarts <- welcome:
			return
		case <-p.restarts: // an older one that nobody has come to
		}
	}
}

// followNew brings the stage up to a new stand-in.
func (p *performance) followNew(ctx context.Context, r rehearsed, welcome tunnel.Welcome) {
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	p.out.Notice("%s was made again", p.far())
	p.detail("following "+p.far(), r.stage.SetWelcome(ctx, p.opts.Boundary.Welcome(welcome)))
	if p.playing.Load() {
		p.detail("following "+p.far(), r.tunnel.SetReady(ctx, true))
	}
}

// listening is told of every port that something on the stage listens on.
func (p *performance) listening(l stage.Listening) {
	switch {
	case l.Closed:
		p.out.Detail("%s is closed again", l.Name())
	case l.Reach == stage.ReachCluster:
		as := ""
		if outer, _ := p.opts.Boundary.Outer(l.Port); outer != l.Port {
			as = fmt.Sprintf(" as %d", outer)
		}
		p.out.Notice("%s is open in the cluster%s%s", l.Name(), as, p.published(l))
	case l.Reach == stage.ReachPod:
		p.out.Detail("%s is open to the pod's other containers%s", l.Name(), p.published(l))
	case l.Why != nil && p.opts.Boundary.Closed(l.Port):
		p.out.Detail("%s is not opened in the cluster, as the configuration says%s", l.Name(), p.published(l))
	case l.Why != nil:
		p.out.Notice("%s is not reachable in the cluster: %v", l.Name(), l.Why)
	}
}

func (p *performance) published(l stage.Listening) string {
	if l.Published {
		return fmt.Sprintf(", and here on 127.0.0.1:%d", p.opts.Boundary.Published(l.Port))
	}
	return ""
}

// remarks tells what the operator says of a session that goes on.
func (p *performance) remarks(ctx context.Context) {
	broken, unready := "", ""
	for {
		state, changed := p.follow.State()
		now := ""
		if state.Is(v1alpha1.ConditionHoldBroken) {
			now = state.Message(v1alpha1.ConditionHoldBroken)
		}
		if now != broken && now != "" {
			p.out.Notice("warning: %s", now)
		}
		broken = now
		now = ""
		if !state.Is(v1alpha1.ConditionReady) && state.Ended() == nil {
			now = state.Message(v1alpha1.ConditionReady)
		}
		switch {
		case now != unready && now != "":
			p.out.Notice("not ready any more: %s", now)
		case now != unready:
			p.out.Notice("ready again")
		}
		unready = now
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// finale says how it ended for the cluster.
func finale(state session.State, target string) string {
	if state.Session.Spec.Targetless() {
		return "the session has ended"
	}
	if outcome := state.Outcome(); outcome != "" {
		return target + ": " + outcome
	}
	return target + " is as it was"
}
