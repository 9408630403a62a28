package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/queue"
	"understudy.dev/understudy/test/e2e/workload"
)

const (
	namespace = "understudy-demo"
	replicas  = 3
	// batch is how many messages each quiet part of the play publishes.
	batch = 300
	// pause and work keep the queue busy while the workload changes hands, so
	// that there is something in flight.
	pause = 10 * time.Millisecond
	work  = 100 * time.Millisecond
	// patience bounds every wait, so that a broken demo ends.
	patience = 2 * time.Minute
)

// stage is what the acts share.
type stage struct {
	*screen
	promises
	cluster *cluster.Cluster
	queue   queue.Monitor
	dana    *developer.Developer
	phases  []phase
	last    queue.Counters
}

func play(ctx context.Context, s *screen) error {
	c, err := cluster.Connect()
	if err != nil {
		return err
	}
	st := &stage{screen: s, promises: promises{screen: s}, cluster: c}
	s.line("%s", s.bold("Understudy: a process on this machine takes the place of a workload in the cluster."))
	machine, err := developer.NewMachine(os.Getenv("E2E_PROGRAMS"), os.Getenv("E2E_BIN"))
	if err != nil {
		return err
	}
	defer machine.Close()
	for _, act := range []func(context.Context, *developer.Machine) error{
		st.setUp, st.before, st.takeover, st.kill,
	} {
		if err := act(ctx, machine); err != nil {
			s.line("%s", c.Report(context.WithoutCancel(ctx), namespace))
			return err
		}
	}
	s.line("")
	if st.broken > 0 {
		return fmt.Errorf("%d promises were not kept", st.broken)
	}
	s.line("%s", s.bold("All as promised."))
	s.line("%s", s.dim("The shop stays in namespace "+namespace+". Take it over yourself:"))
	s.line("%s", s.dim("  $ make shell      # understudy and kubectl on its PATH, and the KUBECONFIG of this cluster"))
	s.line("%s", s.dim("  $ understudy exec -t deployment/worker -n "+namespace+" --copy-target --scale-down -- bash"))
	return nil
}

// setUp makes the shop: queue, producer, workers, and Dana who works on them.
func (s *stage) setUp(ctx context.Context, machine *developer.Machine) error {
	s.act("The shop", fmt.Sprintf("A NATS JetStream work queue, a producer, and deployment/worker: %d replicas that take orders and acknowledge them.", replicas))
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.emptyNamespace(ctx); err != nil {
		return err
	}
	s.now("starting the broker")
	var err error
	if s.queue, err = workload.Broker(ctx, s.cluster, namespace); err != nil {
		return err
	}
	s.now("starting the workers")
	err = workload.Start(ctx, s.cluster, namespace, "worker", workload.Options{Replicas: replicas, Args: []string{"--work=" + work.String(), "--prefetch=4"}})
	if err != nil {
		return err
	}
	s.step("queue, producer and workers run in namespace "+namespace, time.Since(begun))

	begun = time.Now()
	dana, err := s.cluster.NewUser(ctx, "dana")
	if err != nil {
		return err
	}
	if err := s.cluster.Grant(ctx, dana, namespace, "understudy-user"); err != nil {
		return err
	}
	kubeconfig, err := dana.Kubeconfig(namespace, "")
	if err != nil {
		return err
	}
	if s.dana, err = machine.Developer(kubeconfig); err != nil {
		return err
	}
	s.step("Dana: not root here, in the cluster only the role understudy-user", time.Since(begun))
	return nil
}

// emptyNamespace makes the demo's namespace, or makes it again.
func (s *stage) emptyNamespace(ctx context.Context) error {
	namespaces := s.cluster.Client.CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("clearing away the last demo: %w", err)
	}
	err := cluster.Until(ctx, func(ctx context.Context) error {
		s.now("clearing away the last demo")
		_, err := namespaces.Create(ctx, &core.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("making namespace %s: %w", namespace, err)
	}
	return nil
}

// publish puts a batch into the queue, shows who takes it, and returns the
// counters once all of it is acknowledged.
func (s *stage) publish(ctx context.Context, n int) (queue.Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- workload.Publish(ctx, s.cluster, namespace, n, 0) }()
	from := s.last
	if err := s.watchUntil(ctx, from, uint64(n), failed); err != nil {
		return from, err
	}
	return s.queue.Settled(ctx)
}

// watchUntil shows deliveries until the publisher has answered.
func (s *stage) watchUntil(ctx context.Context, from queue.Counters, all uint64, published <-chan error) error {
	done := false
	_, err := s.queue.Until(ctx, func(c queue.Counters) error {
		pods, here := c.By("cluster")-from.By("cluster"), c.By("local")-from.By("local")
		s.now("cluster %s %4d   here %s %4d", bar(pods, all), pods, bar(here, all), here)
		select {
		case err := <-published:
			if err != nil {
				return err
			}
			done = true
		default:
		}
		if !done {
			return errors.New("messages are still being published")
		}
		if c.Stored != 0 {
			return fmt.Errorf("%d messages are not acknowledged", c.Stored)
		}
		return nil
	})
	s.wipe()
	return err
}
