package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/queue"
	"understudy.dev/understudy/test/e2e/workload"
)

// before is an ordinary day: the cluster's pods take everything.
func (s *stage) before(ctx context.Context, _ *developer.Machine) error {
	s.act("Before", fmt.Sprintf("%d messages are published. Every number from here on is the server's own.", batch))
	after, err := s.publish(ctx, batch)
	if err != nil {
		return err
	}
	s.column("before", strconv.Itoa(replicas), "", after)
	s.keep("delivered to the cluster's pods", s.phases[0].cluster, batch)
	return nil
}

// takeover is the main job: from Ready on, everything is taken here.
func (s *stage) takeover(ctx context.Context, _ *developer.Machine) error {
	s.act("Changing over", "Dana types\n$ understudy exec -t deployment/worker --copy-target --scale-down -- worker\nwhile messages keep coming, one every "+pause.String()+".")
	s.last, _ = s.queue.Read(ctx)
	traffic, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- workload.Publish(traffic, s.cluster, namespace, 100_000, pause) }()

	run, times, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer run.Kill()
	held, err := s.until(ctx, run, times, understudy.ConditionHeld)
	if err != nil {
		return err
	}
	inFlight := held.InFlight
	ready, err := s.until(ctx, run, times, understudy.ConditionReady)
	if err != nil {
		return err
	}
	s.step("3 replicas written down in two places, the stand-in runs", times.at(understudy.ConditionStandInReady))
	s.step(fmt.Sprintf("held at 0 replicas; %d messages were in flight just then", inFlight), times.at(understudy.ConditionHeld))
	s.step("the last of the old pods is gone: ready", times.at(understudy.ConditionReady))
	began := time.Now()
	if _, err := run.Out.Saw(ctx, "took order-"); err != nil {
		return err
	}
	s.step("Dana's worker has taken its first message (after ready)", time.Since(began))
	stop()
	<-failed //nolint:errcheck // the last message is stored or it is not; both are counted
	over, err := s.settled(ctx)
	if err != nil {
		return err
	}
	s.column("changing", fmt.Sprintf("%d → 0", replicas), strconv.FormatUint(inFlight, 10), over)
	s.keep("delivered to the cluster's pods since it said ready", over.By("cluster")-ready.By("cluster"), 0)

	s.act("During", fmt.Sprintf("%d messages are published.", batch))
	during, err := s.publish(ctx, batch)
	if err != nil {
		return err
	}
	now, err := s.replicas(ctx)
	if err != nil {
		return err
	}
	s.column("during", strconv.Itoa(int(now)), "", during)
	s.keep("delivered to the local process", during.By("local")-over.By("local"), batch)
	s.keep("delivered to the cluster's pods", during.By("cluster")-over.By("cluster"), 0)

	s.act("After", "Dana presses Ctrl-C.")
	if err := s.end(ctx, run); err != nil {
		return err
	}
	after, err := s.publish(ctx, batch)
	if err != nil {
		return err
	}
	now, err = s.replicas(ctx)
	if err != nil {
		return err
	}
	s.column("after", strconv.Itoa(int(now)), "", after)
	s.keep("delivered to the cluster's pods", after.By("cluster")-during.By("cluster"), batch)
	s.keep("delivered to the local process", after.By("local")-during.By("local"), 0)

	s.line("\n%s", table(s.phases))
	s.keep(fmt.Sprintf("lost of %d messages", after.Published), after.Published-after.AckFloor, 0)
	s.hold("replicas as they were", now == replicas, fmt.Sprintf("there are %d", now))
	s.line("  %s", s.dim(fmt.Sprintf("%d messages were delivered twice: in flight when their pod ended, given out again after the server's wait of %s.",
		after.Delivered-after.Published, queue.AckWait)))
	return nil
}

// end presses Ctrl-C and tells how the cluster comes back.
func (s *stage) end(ctx context.Context, run *developer.Run) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	if err := run.Interrupt(); err != nil {
		return err
	}
	err := cluster.Until(ctx, func(ctx context.Context) error {
		n, err := s.replicas(ctx)
		if err == nil && n != replicas {
			err = fmt.Errorf("the deployment wishes %d replicas", n)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.step(fmt.Sprintf("the local worker has ended, %d replicas are written back", replicas), time.Since(began))
	if err := s.cluster.Available(ctx, namespace, "worker", replicas); err != nil {
		return err
	}
	s.step(fmt.Sprintf("%d replicas are available", replicas), time.Since(began))
	_, err = run.Exit(ctx)
	return err
}

// kill shows what happens when nobody is left to tidy up.
func (s *stage) kill(ctx context.Context, _ *developer.Machine) error {
	const lease = 10 * time.Second
	s.act("A bad day", "A second session, with a lease of "+lease.String()+". Once it is ready, every process of it is killed with SIGKILL:\nnobody is left to say goodbye to the cluster.")
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	run, times, err := s.session(ctx, "--lease", lease.String())
	if err != nil {
		return err
	}
	defer run.Kill()
	if _, err := s.until(ctx, run, times, understudy.ConditionReady); err != nil {
		return err
	}
	s.step("ready, and held at 0 replicas", times.at(understudy.ConditionReady))
	if _, err := run.Out.Saw(ctx, "connected to"); err != nil {
		return err
	}
	killed := time.Now()
	run.Kill()
	s.step("killed", time.Since(killed))
	err = cluster.Until(ctx, func(ctx context.Context) error {
		n, err := s.replicas(ctx)
		if err == nil && n != replicas {
			err = fmt.Errorf("the deployment wishes %d replicas", n)
			s.now("%s since anybody renewed the lease; the cluster waits for %s", seconds(time.Since(killed)), lease)
		}
		return err
	})
	if err != nil {
		return err
	}
	back := time.Since(killed)
	s.step(fmt.Sprintf("the lease has run out, %d replicas are written back", replicas), back)
	if err := s.cluster.Available(ctx, namespace, "worker", replicas); err != nil {
		return err
	}
	s.step(fmt.Sprintf("%d replicas are available", replicas), time.Since(killed))
	// The last renewal was up to a third of the lease before the kill.
	s.hold("the workload came back neither before the lease was over nor long after", back > lease/2 && back < 3*lease,
		fmt.Sprintf("it took %s of a lease of %s", seconds(back), lease))
	s.last, err = s.settled(ctx)
	if err != nil {
		return err
	}
	after, err := s.publish(ctx, batch)
	if err != nil {
		return err
	}
	s.keep(fmt.Sprintf("of the next %d messages, delivered to the cluster's pods", batch), after.By("cluster")-s.last.By("cluster"), batch)
	s.keep("lost", after.Published-after.AckFloor, 0)
	return nil
}

// session starts Dana's worker in the place of the cluster's.
func (s *stage) session(ctx context.Context, more ...string) (*developer.Run, *timeline, error) {
	times, err := follow(ctx, s.cluster, namespace)
	if err != nil {
		return nil, nil, err
	}
	args := append([]string{"exec", "-t", "deployment/worker", "--copy-target", "--scale-down"}, more...)
	run, err := s.dana.Understudy(append(args, "--", "worker", "--site=local", "--prefetch=4")...)
	return run, times, err
}

// until waits for a condition of the session and reads the counters then.
func (s *stage) until(ctx context.Context, run *developer.Run, times *timeline, condition string) (queue.Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := cluster.Until(ctx, func(context.Context) error {
		if times.at(condition) > 0 {
			return nil
		}
		if run.Ended() {
			cancel()
		}
		s.now("%s %s", seconds(time.Since(times.begun)), times.waiting())
		return fmt.Errorf("the session is not %s", condition)
	})
	if err != nil {
		return queue.Counters{}, fmt.Errorf("%w\n%s", err, run)
	}
	return s.queue.Read(ctx)
}

func (s *stage) settled(ctx context.Context) (queue.Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.queue.Settled(ctx)
}

// column adds the part of the play that ends with the reading.
func (s *stage) column(name, replicas, inFlight string, now queue.Counters) {
	p := between(name, replicas, s.last, now)
	p.inFlight = inFlight
	s.phases, s.last = append(s.phases, p), now
}

func (s *stage) replicas(ctx context.Context) (int32, error) {
	d, err := s.cluster.Client.AppsV1().Deployments(namespace).Get(ctx, "worker", metav1.GetOptions{})
	if err != nil || d.Spec.Replicas == nil {
		return 0, err
	}
	return *d.Spec.Replicas, nil
}
