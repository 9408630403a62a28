package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
)

// prepareFor is how long an API server may take for the few questions that are
// asked before anything is made.
const prepareFor = 20 * time.Second

// prepare finds the cluster and the target and asks for the rights. It changes
// nothing.
func (p *performance) prepare(ctx context.Context) error {
	step := p.out.Step("looking up " + p.opts.Target.String())
	var namespace string
	var err error
	if p.config, namespace, err = cluster(p.opts.Config); err != nil {
		step.Done("")
		return err
	}
	if p.client, err = session.NewClient(p.config, namespace); err != nil {
		step.Done("")
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, prepareFor)
	defer cancel()
	if err := p.ask(ctx); err != nil {
		step.Done("")
		return unreachable(p.config.Host, err)
	}
	step.Done(fmt.Sprintf("%s in namespace %s, container %s, %s", p.target, namespace, p.target.Container, replicas(p.target.Replicas)))
	for _, notice := range p.target.Notices {
		p.out.Notice("%s", notice)
	}
	return nil
}

// ask asks everything at once, and answers with the failure that a person
// would look at first.
func (p *performance) ask(ctx context.Context) error {
	var found, installed, mayCreate, mayTakeOver, who error
	var group errgroup.Group
	group.Go(func() error {
		if p.target, found = target.Resolve(ctx, p.client.Kube, p.client.Namespace, p.opts.Target); found == nil {
			mayTakeOver = p.client.MayTakeOver(ctx, p.target)
		}
		return nil
	})
	group.Go(func() error { installed = p.client.Installed(ctx); return nil })
	group.Go(func() error { mayCreate = p.client.MayCreate(ctx); return nil })
	group.Go(func() error { p.username, who = p.client.Username(ctx); return nil })
	_ = group.Wait() // each question has an error of its own
	for _, err := range []error{found, who, installed, mayCreate, mayTakeOver} {
		if err != nil {
			return err
		}
	}
	return nil
}

func replicas(n int32) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// unreachable gives an error of the network's a hint; others pass.
func unreachable(host string, err error) error {
	var of *url.Error
	var op net.Error
	if errors.As(err, &of) || errors.As(err, &op) || errors.Is(err, context.DeadlineExceeded) {
		return &failure.Failure{
			What: "the cluster at " + host + " cannot be reached; nothing was changed", Err: err,
			Hint: "is it the right context? See: kubectl config current-context",
		}
	}
	return err
}
