package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/stage"
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
			cancel(state.Ended())
		}
	})
	watchers.Go(func() {
		if p.renew.Exhausted(ctx, ask) == nil {
			cancel(&failure.Failure{
				What: fmt.Sprintf("this machine has not reached the API server for %.0f s, and the lease is %s: the local process is ended before the cluster's own comes back", ask.Seconds(), p.opts.Config.Lease),
				Hint: "the cluster undoes everything by itself when the lease has run out; a longer --lease bridges longer gaps",
			})
		}
	})

	ready, err := p.setup(ctx)
	if err != nil {
		return nil, because(ctx, err)
	}
	defer func() {
		// Saying bye waits for a network that may be gone: nobody shall.
		go ready.close()
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
		return &e.status, nil
	case <-ready.tunnel.Done():
		cancel(&failure.Failure{What: "the connection to the stand-in has ended for good", Err: ready.tunnel.Err()})
	case <-ctx.Done():
	}
	grace := endGrace
	if p.renew.Silence() >= ask {
		grace = max(kill-p.renew.Silence(), 0)
	}
	if err := ready.stage.End(context.WithoutCancel(ctx), grace); err != nil && !errors.Is(err, stage.ErrHandLost) {
		return nil, errors.Join(context.Cause(ctx), fmt.Errorf("ending the command: %w", err))
	}
	return nil, context.Cause(ctx)
}

// start starts the command.
func (p *performance) start(ctx context.Context, r rehearsed) error {
	welcome := r.tunnel.Welcome()
	env, left := p.opts.Environ.Apply(p.environ, welcome.Environment)
	if len(left) > 0 {
		p.out.Detail("not taken over from the container: %s", strings.Join(left, ", "))
	}
	p.out.Notice("ready after %.1f s: %s runs in the place of %s", p.out.Elapsed().Seconds(), p.opts.Args[0], p.target)
	p.playing.Store(true)
	if err := r.stage.Run(ctx, stage.Command{Args: p.opts.Args, Env: env}); err != nil {
		return startFailure(p.opts.Args[0], err)
	}
	return nil
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
