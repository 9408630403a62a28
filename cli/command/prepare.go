package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/plan"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/solo"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
)

const (
	// prepareFor is how long an API server may take for the few questions that
	// are asked before anything is made.
	prepareFor = 20 * time.Second
	// signInFor is that time where the kubeconfig names a credential plugin: it
	// may have its user sign in, in a browser for instance.
	signInFor = 5 * time.Minute
)

// prepare finds the cluster and the target and asks for the rights. It changes
// nothing, and returns as soon as ctx is done: what still waits then, for an
// answer or for a credential plugin, is left behind.
func (p *performance) prepare(ctx context.Context) error {
	looking := "looking up " + p.opts.Target.String()
	if p.opts.Target.None() {
		looking = "asking the cluster"
	}
	step := p.out.Step(looking)
	defer step.Done("")
	var namespace string
	var err error
	if p.config, namespace, err = cluster(p.opts.Config); err != nil {
		return err
	}
	withoutTerminal(p.config)
	if p.client, err = session.NewClient(p.config, namespace); err != nil {
		return err
	}
	limit := prepareFor
	if plugin := p.config.ExecProvider; plugin != nil {
		limit = signInFor
		step.Wait("the credentials come from " + plugin.Command)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	asked := make(chan answers, 1)
	go func() {
		if p.config.ExecProvider != nil {
			// Alone, so that a plugin which fails is not run for each question.
			if _, err := p.client.Username(ctx); err != nil {
				asked <- answers{err: err}
				return
			}
		}
		asked <- ask(ctx, p.client, p.opts)
	}()
	var got answers
	select {
	case got = <-asked:
	case <-ctx.Done():
		got.err = context.Cause(ctx)
	}
	if got.here != nil {
		return got.here
	}
	if got.err != nil {
		return unanswered(p.config, got.err, nothingChanged)
	}
	p.target, p.takeover, p.username, p.plan = got.target, got.takeover, got.username, got.plan
	if p.scalesDown() {
		if err := p.target.CanBeHeld(); err != nil {
			return err
		}
	}
	found := fmt.Sprintf("%s in namespace %s, container %s", p.target, namespace, p.target.Container)
	switch {
	case p.target.None():
		found = "no target, in namespace " + namespace
	case !p.opts.attaches():
		found += ", " + replicas(p.target)
	}
	step.Done(found)
	for _, notice := range append(p.target.Notices, idle(p.opts.Config, p.takeover, p.plan != nil)...) {
		p.out.Notice("%s", notice)
	}
	return nil
}

// answers are what a cluster says before anything is made.
type answers struct {
	target   *target.Target
	takeover config.Takeover
	username string
	// plan is that of a freeze which no operator makes.
	plan *solo.Plan
	// here is what this machine lacks, err what is wrong in the cluster or stands
	// against it for certain.
	here, err error
}

// ask asks everything at once, this machine too, and answers with the failure that a person
// would look at first.
func ask(ctx context.Context, client *session.Client, opts *ExecOptions) answers {
	var a answers
	if freezesAlone(ctx, client, opts.Config) { // who freezes decides what is asked
		return askAlone(ctx, client, opts)
	}
	var found, installed, mayCreate, unlisted, mayTakeOver, who, stands error
	var operator session.Operator
	var scalers, idle []string
	var group errgroup.Group
	group.Go(func() error { a.here = checkStage(); return nil })
	group.Go(func() error { operator, idle = idles(ctx, client); return nil })
	group.Go(func() error {
		if a.target, a.takeover, found = resolve(ctx, client, opts, true); found == nil {
			// What the target itself says against it costs no request.
			stands = plan.First(&plan.World{Asked: opts.Config, Takeover: a.takeover, Target: a.target})
			group.Go(func() error { scalers = mayScale(ctx, client, a); return nil })
			mayTakeOver = client.MayTakeOver(ctx, a.target, verb(a))
		}
		return nil
	})
	group.Go(func() error { installed = client.Installed(ctx); return nil })
	group.Go(func() error { mayCreate = client.MayCreate(ctx); return nil })
	group.Go(func() error { a.username, who = client.Username(ctx); return nil })
	_ = group.Wait() // each question has an error of its own
	if opts.attaches() && errors.Is(installed, session.ErrNotInstalled) {
		installed = failure.New(session.InstallHint+" --set freeze.enabled=true",
			"%v, and a pod is attached to by an agent on its node, which the operator makes", installed)
	}
	if found == nil {
		unlisted = operator.MayTouch(a.target.Target)
	}
	// The right on a kind that the chart does not list is in none of its roles either.
	for _, err := range []error{found, who, installed, mayCreate, unlisted, mayTakeOver, stands} {
		if err != nil {
			a.err = err
			break
		}
	}
	if found == nil {
		a.target.Notices = append(append(a.target.Notices, scalers...), idle...)
	}
	return a
}

// idles reads which operator is installed, and says of one that does nothing what the
// session waits for. It may be between two of its pods, so that it is no error yet.
func idles(ctx context.Context, client *session.Client) (session.Operator, []string) {
	operator, err := client.Operator(ctx)
	if err == nil {
		_, err = client.Idle(ctx, operator)
	} else if !errors.Is(err, session.ErrNoOperator) {
		return operator, nil
	}
	if err == nil {
		return operator, nil
	}
	return operator, []string{err.Error() + "; " + strings.ReplaceAll(failure.Hint(err), "\n", " ")}
}

// askAlone is ask where no operator freezes, or none may.
func askAlone(ctx context.Context, client *session.Client, opts *ExecOptions) answers {
	var a answers
	var found, who error
	var group errgroup.Group
	group.Go(func() error { a.here = checkStage(); return nil })
	group.Go(func() error {
		if a.target, a.takeover, found = resolve(ctx, client, opts, false); found == nil {
			a.target.Notices = append(a.target.Notices, mayScale(ctx, client, a)...)
		}
		return nil
	})
	group.Go(func() error { a.username, who = client.Username(ctx); return nil })
	_ = group.Wait() // each question has an error of its own
	if a.err = cmp.Or(found, who); a.err == nil && a.here == nil {
		a.plan, a.err = planAlone(ctx, client, opts.Config, a.target, owner(a.username))
	}
	return a
}

// mayScale says what may bring another pod beside the one that is to be frozen.
func mayScale(ctx context.Context, client *session.Client, a answers) []string {
	if a.takeover != config.TakeoverFreeze {
		return nil
	}
	var notices []string
	for _, finding := range plan.MayScale(ctx, client, a.target) {
		notices = append(notices, finding.Says+"; "+finding.Do)
	}
	return notices
}

// freezesAlone says whether something is to be frozen and no operator does it,
// as none may or there is none.
func freezesAlone(ctx context.Context, client *session.Client, c *config.Config) bool {
	return c.Takeover == config.TakeoverFreeze && (c.Alone() || errors.Is(client.Installed(ctx), session.ErrNotInstalled))
}

// verb is the right that a session needs on its target.
func verb(a answers) string {
	switch {
	case a.target.None():
		return session.VerbTargetless
	case a.takeover == config.TakeoverFreeze:
		return session.VerbFreeze
	case a.takeover == config.TakeoverNone:
		return session.VerbAttach
	}
	return session.VerbTakeover
}

// resolve finds the object that will be held, and how: what is to be frozen, or
// paused, depends on how many pods it has. What is attached to is one pod.
func resolve(ctx context.Context, client *session.Client, opts *ExecOptions, operator bool) (*target.Target, config.Takeover, error) {
	takeover, notice := opts.Config.Takeover, ""
	if opts.Target.None() {
		return target.Nothing(client.Namespace), takeover, nil
	}
	if opts.attaches() {
		found, err := target.Attached(ctx, client.Targets(), client.Namespace, opts.Target, client.Taken(ctx))
		return found, takeover, err
	}
	if takeover == config.TakeoverFreeze {
		reach, err := target.Reaching(ctx, client.Targets(), client.Namespace, opts.Target)
		if err != nil {
			return nil, takeover, err
		}
		pods := config.Pods{Target: reach.Target, Bare: reach.Bare, Running: len(reach.Pods), Operator: operator}
		if opts.Config.Paused {
			takeover, notice, err = config.Pause(pods)
			if takeover == config.TakeoverScaleDown && !opts.Config.ReleaseConnections {
				notice += "; its pods end, and their connections with them"
			}
		} else {
			err = config.Freeze(pods)
		}
		if err != nil {
			return nil, takeover, err
		}
		if takeover == config.TakeoverFreeze {
			found, err := reach.Frozen(client.Namespace, opts.Target.Container)
			return found, takeover, err
		}
	}
	found, err := target.Resolve(ctx, client.Targets(), client.Namespace, opts.Target)
	if err == nil && notice != "" {
		found.Notices = append([]string{notice}, found.Notices...)
	}
	return found, takeover, err
}

// replicas says how many there are, or that there are none to count.
func replicas(t *target.Target) string {
	switch {
	case t.Group == "batch" && t.Replicas == 0:
		return "suspended"
	case t.Group == "batch":
		return "not suspended"
	case t.Replicas == 1:
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", t.Replicas)
}
