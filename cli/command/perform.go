package command

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/solo"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/tunnel"
)

// performance is one run of exec, from the kubeconfig to the restored
// workload. Its methods are in the order of the play: run here, prepare (what
// is checked before anything is made), setup, watch, end.
type performance struct {
	opts    *ExecOptions
	front   *stage.Front
	environ []string
	out     *progress.Printer

	config *rest.Config
	client *session.Client
	target *target.Target
	// takeover is what was asked for, or what pausing this target comes to.
	takeover config.Takeover
	key      crypto.Signer
	session  *v1alpha1.Session
	follow   *session.Follower
	renew    *session.Renewer
	// plan is a freeze with the user's own rights, where no operator does it;
	// alone is what has become of it. Both are nil where one does.
	plan  *solo.Plan
	alone *solo.Session

	username string
	// made is true from when a session may be in the cluster.
	made atomic.Bool
	// playing is true while the command runs: then only what matters is said.
	playing atomic.Bool
	// restarts holds the welcome of a stand-in that was made again.
	restarts chan tunnel.Welcome
	// loopback are the ports that the pod's other containers listen on.
	loopback atomic.Pointer[[]tunnel.Endpoint]
	// away is the API server's absence, unlinked the stand-in's.
	away, unlinked away
}

// interrupted is the cause of what ends by the user's will.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string {
	if i.signal == syscall.SIGINT {
		return "interrupted"
	}
	return fmt.Sprintf("ended by signal %d (%s)", int(i.signal), i.signal)
}

// run does it all. What it returns carries the exit code.
func (p *performance) run(ctx context.Context) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	hurry, leave := context.WithCancelCause(context.WithoutCancel(ctx))
	defer leave(nil)
	watching := make(chan struct{})
	defer close(watching)
	go p.listen(watching, interrupt, leave)

	if err := p.prepare(ctx); err != nil {
		return p.early(ctx, err)
	}
	if ctx.Err() != nil {
		return p.early(ctx, context.Cause(ctx))
	}
	if err := p.create(ctx, hurry); err != nil {
		return err
	}

	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	renewing, silence := context.WithCancel(live)
	defer silence()
	if p.alone != nil {
		group.Go(func() { p.alone.Run(live) })
	} else {
		group.Go(func() { p.follow.Run(live) })
		group.Go(func() { p.renew.Run(renewing) })
	}

	status, err := p.play(ctx)
	silence() // what is undone now is so by the session's end
	return p.end(hurry, status, err)
}

// listen turns what the user sends while no command runs into the end of the
// set-up, and the second time into leaving at once. A front that is gone is
// the user gone.
func (p *performance) listen(until <-chan struct{}, interrupt, leave context.CancelCauseFunc) {
	count := 0
	lost := p.front.Lost()
	for {
		select {
		case signal, open := <-p.front.Signals():
			if !open {
				return
			}
			count++
			if count > 1 {
				leave(interrupted{signal})
				continue
			}
			interrupt(interrupted{signal})
			if !p.made.Load() {
				continue // it ends at once
			}
			p.out.Notice("ending; once more leaves at once, the cluster then goes on by itself")
		case <-lost:
			lost = nil
			interrupt(stage.ErrFrontLost)
		case <-until:
			return
		}
	}
}

// early is the error of what ended before anything was made.
func (p *performance) early(ctx context.Context, err error) error {
	var by interrupted
	if cause := context.Cause(ctx); errors.As(cause, &by) {
		interruptPlugins()
		return &failure.Failure{What: by.Error() + "; nothing was changed in the cluster", Code: failure.CodeSignal + int(by.signal)}
	} else if cause != nil {
		return cause
	}
	return err
}

// create makes the Session, and what follows and renews it. It is not
// interrupted, but left when hurry is done.
func (p *performance) create(ctx, hurry context.Context) error {
	c := p.opts.Config
	key, public, err := session.NewKey()
	if err != nil {
		return err
	}
	p.key = key
	spec := v1alpha1.SessionSpec{
		Target:               p.target.Target,
		Takeover:             v1alpha1.TakeoverCopy,
		Owner:                owner(p.username),
		ClientKey:            public,
		LeaseDurationSeconds: int32(c.Lease / time.Second),
		SetupDeadlineSeconds: int32(c.SetupTimeout / time.Second),
		ShareTraffic:         c.ShareTraffic,
		ListenPorts:          c.Listen.Ports,
		ListenAll:            c.Listen.All,
		RestartOK:            c.RestartOK,
		Wait:                 c.Wait && p.scalesDown(),

		ExcludeContainers:     c.ExcludeContainers,
		ExcludeInitContainers: c.ExcludeInitContainers,

		Agent: session.AgentPod(c.Agent, p.target.None()),
	}
	switch p.takeover {
	case config.TakeoverScaleDown:
		spec.Takeover = v1alpha1.TakeoverScaleDown
	case config.TakeoverFreeze:
		spec.Takeover, spec.ReleaseConnections = v1alpha1.TakeoverFreeze, new(c.ReleaseConnections)
	case config.TakeoverNone:
		spec.Takeover = v1alpha1.TakeoverNone
	case config.TakeoverCopy:
	}
	if p.plan != nil {
		return p.createAlone(ctx, hurry, spec)
	}
	p.made.Store(true)
	step := p.out.Step("making a session")
	defer step.Done("")
	type result struct {
		session *v1alpha1.Session
		err     error
	}
	results := make(chan result, 1)
	go func() {
		made, err := p.client.Create(ctx, spec)
		results <- result{made, err}
	}()
	var made *v1alpha1.Session
	select {
	case r := <-results:
		if made, err = r.session, r.err; err != nil {
			return err
		}
	case <-hurry.Done():
		return p.left(context.Cause(hurry))
	}
	p.out.Session(made.Namespace, made.Name)
	p.session = made
	p.follow = p.client.Follow(made)
	p.renew = p.client.Renew(made.Name, holder(spec.Owner), c.Lease, session.RenewerOptions{Notify: p.renewals})
	return nil
}

// owner is this user on this machine.
func owner(username string) v1alpha1.Owner {
	host, _ := os.Hostname() // for other people to read; it may be missing
	return v1alpha1.Owner{Username: username, Hostname: host[:min(len(host), 253)]}
}

// holder is who a Lease says it is held by.
func holder(owner v1alpha1.Owner) string {
	if owner.Hostname == "" {
		return owner.Username
	}
	return owner.Username + "@" + owner.Hostname
}

// far is who is at the far end of the tunnel, for messages.
func (p *performance) far() string {
	switch {
	case p.takeover == config.TakeoverFreeze, p.opts.attaches():
		return "the agent on the node"
	case p.target.None():
		return "the empty pod"
	}
	return "the stand-in"
}

// renewals is told when the lease can no longer be renewed and when it can
// again.
func (p *performance) renewals(ok bool, err error) {
	p.follow.Refresh()
	var status apierrors.APIStatus
	switch {
	case ok:
		if lasted := p.away.end(); lasted != "" {
			p.out.Notice("the lease is renewed again, after %s", lasted)
		}
		return
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		// So it is when the session ends, of which the session itself tells.
		p.out.Detail("%v", err)
		return
	case strings.Contains(err.Error(), noCredentials):
		p.out.Notice("your credentials have expired and none were given (%v): sign in again in another terminal, before the lease of %s has run out", err, p.opts.Config.Lease)
	case errors.As(err, &status):
		p.out.Notice("the API server does not renew the lease (%v); trying again", err)
	default:
		p.out.Notice("the API server cannot be reached (%v); trying again", err)
	}
	p.away.begin()
}

var errNoOperator = &failure.Failure{
	What: "no operator answers: Understudy's resources are in this cluster, but its operator does not run, or is just being started",
	Hint: "look with: kubectl get pods -A -l app.kubernetes.io/name=understudy\n" + session.InstallHint,
}
