package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/fault"
)

// storm is a fault of the whole cluster. One that lasts does so until it returns.
type storm struct {
	name string
	// still says that nothing may be asked of the cluster meanwhile.
	still bool
	rage  func(ctx context.Context, c *crowd, s *stage, random *rand.Rand) error
}

var everyStorm = []storm{
	{name: "SIGKILL of the operator", rage: func(_ context.Context, c *crowd, _ *stage, _ *rand.Rand) error {
		c.outside.Crash()
		return nil
	}},
	{name: "SIGKILL of the operator, and the next one's clock an hour behind, right or ahead", rage: func(ctx context.Context, c *crowd, _ *stage, random *rand.Rand) error {
		by := time.Duration(random.IntN(3)-1) * time.Hour
		return c.outside.Start(ctx, filepath.Join(os.Getenv("CHAOS_OFF"), "understudy-operator-off"), off(by))
	}},
	{name: "the API server answers the operator 429", rage: ills(fault.TooMany)},
	{name: "the API server answers the operator 500", rage: ills(fault.InternalError)},
	{name: "the API server answers the operator nothing", rage: ills(fault.Nothing)},
	{name: "a conflict on every first write of the operator", rage: ills(fault.Conflicts)},
	{name: "the API server killed and started again", still: true, rage: func(ctx context.Context, _ *crowd, s *stage, _ *rand.Rand) error {
		return s.restartAPIServer(ctx)
	}},
	{name: "etcd killed and started again", still: true, rage: func(ctx context.Context, _ *crowd, s *stage, _ *rand.Rand) error {
		return fault.RestartEtcd(ctx, s.cluster)
	}},
	{name: "a node drained of workloads and stand-ins", rage: drainOne},
}

// ills has the API server answer the operator as it should not, for some time.
func ills(answer fault.Answer) func(context.Context, *crowd, *stage, *rand.Rand) error {
	return func(ctx context.Context, c *crowd, _ *stage, random *rand.Rand) error {
		c.outside.Proxy.Set(answer)
		err := wait(ctx, time.Duration(random.Int64N(int64(ill))))
		c.outside.Proxy.Set(fault.Passes)
		return err
	}
}

// drainOne drains a node, but for the brokers, and gives it back after a while.
func drainOne(ctx context.Context, _ *crowd, s *stage, random *rand.Rand) error {
	nodes, err := s.cluster.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	node := nodes.Items[random.IntN(len(nodes.Items))].Name
	err = fault.Drain(ctx, s.cluster, node, func(pod core.Pod) bool { return pod.Labels["app"] != "worker" })
	if err == nil {
		err = wait(ctx, lease)
	}
	return errors.Join(err, fault.Undrain(context.WithoutCancel(ctx), s.cluster, node))
}

// storms come one after the other, with some calm in between, until the context ends.
func (c *crowd) storms(ctx context.Context, s *stage) error {
	random := rand.New(rand.NewPCG(c.seed, 0))
	for {
		next := everyStorm[random.IntN(len(everyStorm))]
		if wait(ctx, betweenStorms/2+time.Duration(random.Int64N(int64(betweenStorms)))) != nil {
			return nil
		}
		if err := c.rage(ctx, s, next, random); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", next.name, err)
		}
		c.mu.Lock()
		c.all.Storms[next.name]++
		c.mu.Unlock()
	}
}

func (c *crowd) rage(ctx context.Context, s *stage, next storm, random *rand.Rand) error {
	if next.still {
		c.calm.Lock()
		defer c.calm.Unlock()
	}
	fmt.Fprintf(os.Stderr, "storm: %s\n", next.name)
	// One that has begun is ended, whatever ends the play.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return next.rage(bounded, c, s, random)
}

// betweenStorms is how long the sky is clear on average.
const betweenStorms = 20 * time.Second
