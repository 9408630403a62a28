package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"understudy.dev/understudy/cli/environ"
	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/tunnel"
)

// endGrace is how long the command has to end when the session does.
const endGrace = 10 * time.Second

// play sets everything up, runs the command and returns when no process of it
// is left. The status is nil when it never ran, or was ended because of the
// error.
func (p *performance) play(ctx context.Context) (*stage.Status, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel(nil)
	ask, kill := session.Cutoff(p.opts.Config.Lease)
	watchers.Go(func() {
		if state, err := p.follow.Wait(ctx, func(s session.State) bool { return s.Ended() != nil }); err == nil {
			cancel(p.ended(ctx, state))
		}
	})
	watchers.Go(func() {
		if session.Exhausted(ctx, p.silence, ask) == nil {
			cancel(cutOff(p.silence(), p.opts.Config.Lease))
		}
	})

	ready, err := p.setup(ctx)
	if err != nil {
		return nil, because(ctx, err)
	}
	left := false // no local process is
	defer func() {
		// Saying bye waits for a network that may be gone: nobody shall.
		go p.part(context.WithoutCancel(ctx), ready, left)
	}()
	watchers.Go(func() { p.changes(ctx, ready) })
	watchers.Go(func() { p.followLoopback(ctx, ready) })
	watchers.Go(func() { p.remarks(ctx) })

	if err := p.start(ctx, ready); err != nil {
		return nil, because(ctx, err)
	}
	// The agent is told when it can be; the command does not wait for it.
	watchers.Go(func() { p.detail("letting traffic in", ready.tunnel.SetReady(ctx, true)) })
	type ended struct {
		status stage.Status
		err    error
	}
	waited := make(chan ended, 1)
	go func() {
		// Not ctx: that ends by being asked to end the command, which is then
		// still waited for.
		status, err := ready.stage.Wait(context.WithoutCancel(ctx))
		waited <- ended{status, err}
	}()
	select {
	case e := <-waited:
		if e.err != nil {
			return nil, e.err
		}
		left = true
		return &e.status, nil
	case <-ready.tunnel.Done():
		cancel(&failure.Failure{What: "the connection to " + p.far() + " has ended for good", Err: ready.tunnel.Err()})
	case <-ctx.Done():
	}
	grace := endGrace
	if silent := p.silence(); silent >= ask {
		grace = max(kill-silent, 0)
	}
	if err := ready.stage.End(context.WithoutCancel(ctx), grace); err != nil && !errors.Is(err, stage.ErrHandLost) {
		return nil, errors.Join(context.Cause(ctx), fmt.Errorf("ending the command: %w", err))
	}
	left = true
	return nil, context.Cause(ctx)
}

// tellFor is how long an agent has to hear that it is over. The cluster tells it
// too.
const tellFor = 2 * time.Second

// part lets go of stage and tunnel. When no local process is left, what is frozen
// may go on at once: its agent is told beside the API server, whose word takes
// the way over the operator and the kubelet.
func (p *performance) part(ctx context.Context, r rehearsed, left bool) {
	if left && p.takeover == config.TakeoverFreeze {
		p.playing.Store(false) // the connection is about to end, and shall
		ctx, cancel := context.WithTimeout(ctx, tellFor)
		defer cancel()
		if err := r.tunnel.End(ctx); err != nil {
			p.out.Detail("%v", err)
		}
	}
	r.close()
}

// start starts the command.
func (p *performance) start(ctx context.Context, r rehearsed) error {
	welcome := r.tunnel.Welcome()
	own, dropped := environ.Own(p.environ)
	if len(dropped) > 0 {
		p.out.Detail("not taken over from this machine, as connections go out from the pod: %s", strings.Join(dropped, ", "))
	}
	env, left := p.opts.Environ.Apply(own, welcome.Environment)
	if len(left) > 0 {
		p.out.Detail("not taken over from the container: %s", strings.Join(left, ", "))
	}
	p.out.Ready("ready after %.1f s: %s runs %s", p.out.Elapsed().Seconds(), p.opts.Args[0], p.place())
	p.playing.Store(true)
	if err := r.stage.Run(ctx, stage.Command{Args: p.opts.Args, Env: env}); err != nil {
		return startFailure(p.opts.Args[0], err)
	}
	return nil
}

// scalesDown says whether the target is held at zero while the command runs.
func (p *performance) scalesDown() bool { return p.takeover == config.TakeoverScaleDown }

// rests says whether the target rests while the command runs.
func (p *performance) rests() bool { return p.scalesDown() || p.takeover == config.TakeoverFreeze }

// place says where the command runs, as seen from the cluster.
func (p *performance) place() string {
	switch {
	case p.target.None():
		return "in the network of namespace " + p.client.Namespace
	case p.rests():
		return "in the place of " + p.target.String()
	}
	return "beside " + p.target.String()
}

// cutOff is why the command is ended when this machine was silent for so long:
// most of the lease, or more than it where the machine slept.
func cutOff(silence, lease time.Duration) error {
	silence = silence.Round(time.Second)
	if silence < lease {
		return failure.New("the cluster undoes everything by itself when the lease has run out; a longer --lease bridges longer gaps",
			"this machine has not reached the API server for %s, and the lease is %s: the local process is ended before the cluster's own comes back", silence, lease)
	}
	return failure.New("start again; a longer --lease bridges longer absences",
		"this machine was away for %s, longer than the lease of %s: to the cluster the session is over, and the local process is ended", silence, lease)
}

// holderFor is how long the API server has to say who holds a target.
const holderFor = 2 * time.Second

// ended is why the session has ended by another will than the user's. One that
// lost to a session of the user's own is told what to do about that.
func (p *performance) ended(ctx context.Context, state session.State) error {
	err := state.Ended()
	if state.Deleted() && !state.Final() {
		if by, said := p.client.Farewell(ctx, state.Session); said {
			return session.Ended(state.Session.Name, p.username, by)
		}
	}
	if !state.HeldByAnother() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, holderFor)
	defer cancel()
	other, looked := p.client.Holder(ctx, state.Session)
	if looked != nil || other == nil || other.Spec.Owner.Username != p.username {
		return err
	}
	return &failure.Failure{Err: err, Hint: ownSession(other, state.Session.Spec.Owner.Hostname)}
}

// ownSession is the hint about a session of the same user that holds the target.
func ownSession(other *v1alpha1.Session, here string) string {
	where := "on this machine"
	if other.Spec.Owner.Hostname != here {
		where = "on " + other.Spec.Owner.Hostname
	}
	lease := time.Duration(other.Spec.LeaseDurationSeconds) * time.Second
	return fmt.Sprintf("that is you, %s: end the command there; if it was cut off, its session ends by itself %s after it was heard of last, or now with:\n"+
		"understudy end %s -n %s", where, lease, other.Name, other.Namespace)
}

// changes brings what changes in the pod onto the stage.
func (p *performance) changes(ctx context.Context, r rehearsed) {
	versions := mountVersions(r.tunnel.Welcome())
	for {
		var event tunnel.Event
		var open bool
		select {
		case event, open = <-r.tunnel.Events():
			if !open {
				return
			}
		case welcome := <-p.restarts:
			p.loopback.Store(&welcome.LoopbackPorts)
			p.followNew(ctx, r, welcome)
			versions = mountVersions(welcome)
			continue
		case <-ctx.Done():
			return
		}
		if event.LoopbackPorts != nil {
			p.loopback.Store(&event.LoopbackPorts)
			p.detail("following the pod's loopback ports", r.stage.SetLoopbackPorts(ctx, p.opts.Boundary.Loopback(event.LoopbackPorts)))
		}
		for _, mount := range event.Mounts {
			if versions[mount.Path] == mount.Version || !p.opts.Boundary.Mounted(mount) {
				continue
			}
			versions[mount.Path] = mount.Version
			p.detail("refreshing "+mount.Path, r.stage.RefreshMount(ctx, mount))
		}
	}
}

// followLoopback keeps the ports of loopback that are this machine's up to
// what listens there.
func (p *performance) followLoopback(ctx context.Context, r rehearsed) {
	welcome := r.tunnel.Welcome()
	p.loopback.CompareAndSwap(nil, &welcome.LoopbackPorts)
	p.opts.Boundary.Follow(ctx, func() []tunnel.Endpoint { return *p.loopback.Load() }, func(endpoints []tunnel.Endpoint) {
		p.detail("following this machine's loopback ports", r.stage.SetLoopbackPorts(ctx, endpoints))
	})
}

func mountVersions(welcome tunnel.Welcome) map[string]string {
	versions := map[string]string{}
	for _, mount := range welcome.Mounts {
		versions[mount.Path] = mount.Version
	}
	return versions
}

// detail tells a failure that the command can live with.
func (p *performance) detail(doing string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		p.out.Notice("%s: %v", doing, err)
	}
}

// because is the reason that ctx was ended for, where that is what err comes
// from.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return context.Cause(ctx)
	}
	return err
}
