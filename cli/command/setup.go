package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/link"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/tunnel"
)

// pickUpFor is how long an operator may take to look at a new Session. One that
// has just been killed, or moved to another node, needs its leadership's 6 s and
// a start; nothing is held meanwhile.
const pickUpFor = 20 * time.Second

// rehearsed is what must be there before the command may start.
type rehearsed struct {
	tunnel *tunnel.Client
	stage  *stage.Stage
}

// setup has the stand-in reached and the stage built while the operator brings
// the session to Ready, and returns when all is done.
func (p *performance) setup(ctx context.Context) (rehearsed, error) {
	var r rehearsed
	group, ctx := errgroup.WithContext(ctx)
	if p.alone == nil {
		group.Go(func() error { return p.pickedUp(ctx) })
	}
	group.Go(func() error { return p.showWay(ctx) })
	group.Go(func() (err error) {
		r, err = p.rehearse(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		r.close()
		return rehearsed{}, err
	}
	return r, nil
}

func (r rehearsed) close() {
	if r.stage != nil {
		_ = r.stage.Close()
	}
	if r.tunnel != nil {
		_ = r.tunnel.Close()
	}
}

// pickedUp fails when no operator looks at the session.
func (p *performance) pickedUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pickUpFor, errNoOperator)
	defer cancel()
	state, err := p.follow.Wait(ctx, func(s session.State) bool { return s.PickedUp() })
	if errors.Is(err, errNoOperator) && state.Unreachable != nil {
		return fmt.Errorf("waiting for the operator: %w", state.Unreachable)
	}
	return err
}

// inQueue stands for a condition while the session waits for its target.
const inQueue = "in the queue"

// inLine says who has the target and how many are before this session.
func inLine(q *v1alpha1.Queue, now time.Time) string {
	text := fmt.Sprintf("held by %s since %s (session %s)", q.Holder, q.Since, q.Session)
	if since, err := time.Parse(time.RFC3339, q.Since); err == nil {
		text = fmt.Sprintf("held by %s since %s (session %s)", q.Holder, clockTime(since.Local(), now.Local()), q.Session)
	}
	switch before := q.Place - 1; {
	case before == 1:
		return text + "; 1 other waits before you"
	case before > 1:
		return fmt.Sprintf("%s; %d others wait before you", text, before)
	}
	return text + "; you are next"
}

// clockTime leaves out the day that is today.
func clockTime(at, now time.Time) string {
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("2006-01-02 15:04")
}

// showWay prints how the session gets to Ready, and returns when it is.
func (p *performance) showWay(ctx context.Context) error {
	done := map[string]bool{}
	current := ""
	first := "waiting for the operator"
	if p.alone != nil {
		first = "waiting for the agent"
	}
	step := p.out.Step(first)
	for {
		state, changed := p.follow.State()
		if queue := state.Queued(); queue != nil {
			if current != inQueue {
				current = inQueue
				step = p.out.Step("waiting for " + p.target.String())
			}
			step.Wait(inLine(queue, time.Now()))
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				step.Done("")
				return context.Cause(ctx)
			}
		}
		if current == inQueue {
			current = ""
			step.Done(p.target.String() + " is free")
		}
		next := ""
		for _, s := range state.Steps(p.target.String()) {
			switch {
			case !state.PickedUp():
			case done[s.Condition]:
			case state.Is(s.Condition):
				done[s.Condition] = true
				if current != s.Condition {
					step = p.out.Step(s.Doing)
					current = s.Condition
				}
				step.Done(s.Done)
			case next == "":
				next = s.Condition
				if current != next {
					current = next
					step = p.out.Step(s.Doing)
				}
			}
		}
		if state.Is(v1alpha1.ConditionReady) {
			return nil
		}
		if waits := state.Waits(next); waits != "" {
			step.Wait(waits)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			step.Done("")
			return context.Cause(ctx)
		}
	}
}

// rehearse reaches the stand-in's agent as soon as it runs and builds the
// stage of what it says.
func (p *performance) rehearse(ctx context.Context) (rehearsed, error) {
	var r rehearsed
	if _, err := p.follow.Wait(ctx, func(s session.State) bool {
		return s.Reachable()
	}); err != nil {
		return r, err
	}
	began := time.Now()
	var err error
	connecting, cancel := ctx, func() {}
	if p.alone != nil {
		// Nobody else ends it when it does not get ready.
		connecting, cancel = context.WithTimeoutCause(ctx, p.opts.Config.SetupTimeout, errNotReached)
	}
	defer cancel()
	r.tunnel, err = tunnel.Connect(connecting, tunnel.ClientConfig{
		Target: p.reach, Key: p.key, Session: string(p.session.UID),
		OnLink: p.linked, OnRestart: p.restarted,
	})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return rehearsed{}, &failure.Failure{What: p.far() + " cannot be reached", Err: err}
	}
	p.out.Detail("connected to %s (%.1f s)", p.far(), time.Since(began).Seconds())
	if p.alone != nil {
		p.alone.Heed(r.tunnel)
	}
	began = time.Now()
	line := p.opts.Boundary
	files, notices, err := line.Files(ctx, r.tunnel.Welcome(), stage.TunnelFiles(r.tunnel))
	if err != nil {
		r.close()
		return rehearsed{}, stageFailure(err)
	}
	for _, notice := range notices {
		p.remark(notice, "")
	}
	r.stage, err = p.front.Build(ctx, line.Remote(stage.Tunnel(r.tunnel)), stage.Options{
		Welcome: line.Welcome(r.tunnel.Welcome()), Files: files, OnListening: p.listening, Publish: line.Published,
		OnNotice: func(n stage.Notice) { p.remark(n.Text, n.Hint) },
	})
	if err != nil {
		r.close()
		return rehearsed{}, stageFailure(err)
	}
	p.out.Detail("stage built (%.1f s)", time.Since(began).Seconds())
	return r, nil
}

var errNotReached = errors.New("it took longer than everything may (--setup-timeout)")

// reach opens a raw connection to the newest stand-in's agent.
func (p *performance) reach(ctx context.Context) (net.Conn, string, error) {
	state, _ := p.follow.State()
	agent := state.Session.Status.Agent
	if agent == nil {
		return nil, "", fmt.Errorf("the session has not %s now", p.far())
	}
	dialer := &link.Dialer{Config: p.config, Namespace: cmp.Or(agent.Namespace, p.client.Namespace)}
	conn, err := dialer.Dial(ctx, link.Destination{Pod: agent.PodName, Port: agent.Port})
	if err != nil {
		// It may have been made again, on a network that hides it.
		p.follow.Refresh()
	}
	return conn, agent.CertificateFingerprint, err
}

// remark prints what the user should know.
func (p *performance) remark(text, hint string) {
	if hint != "" {
		text = fmt.Sprintf("%s\n%s", text, hint)
	}
	p.out.Notice("%s", text)
}

// checkStage fails where this machine does not let its user have a stage.
func checkStage() error {
	err := stage.Check()
	if errors.Is(err, stage.ErrForbidden) {
		return &failure.Failure{Err: err, Hint: "nothing was changed in the cluster; when that is done, run the same again"}
	}
	return err
}

func stageFailure(err error) error {
	if errors.Is(err, stage.ErrForbidden) || errors.Is(err, stage.ErrUnsupported) {
		return &failure.Failure{Err: err} // its text says what to change
	}
	return &failure.Failure{What: "the place for the local process cannot be made", Err: err}
}
