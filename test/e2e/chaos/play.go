package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/queue"
	"understudy.dev/understudy/test/e2e/snapshot"
	"understudy.dev/understudy/test/e2e/workload"
)

const (
	// patience bounds one wait.
	patience = 3 * time.Minute
	replicas = 3
	messages = 20
)

// stage is the namespace in which one case is played after the other.
type stage struct {
	cluster   *cluster.Cluster
	namespace string
	user      *cluster.User
	dev       *developer.Developer
	monitor   queue.Monitor
	workload  snapshot.Snapshot
	inventory []string
}

func play(ctx context.Context, pattern string, bound time.Time) (err error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("reading the pattern: %w", err)
	}
	s := &stage{}
	if s.cluster, err = cluster.Connect(); err != nil {
		return err
	}
	machine, err := developer.NewMachine(os.Getenv("E2E_PROGRAMS"), os.Getenv("E2E_BIN"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	defer s.leave(context.WithoutCancel(ctx))
	if err := s.build(ctx, machine); err != nil {
		return err
	}
	wrong := 0
	// The phase in which sessions spend their time comes first.
	for _, phase := range everyPhase {
		for _, c := range cases {
			if !wanted.MatchString(c.name) || !has(c.phases, phase) || time.Now().After(bound) || ctx.Err() != nil {
				continue
			}
			r, err := s.trial(ctx, c, phase)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, phase, err)
			}
			fmt.Fprintf(os.Stderr, "%s, %s: right %v after %.1f s; left over %q; %d of %d messages lost %s\n", r.Fault, r.Phase, r.Right, r.Seconds, r.Left, r.Lost, r.Published, r.Problem)
			if !r.Right || r.Left != "" || r.Lost > 0 {
				wrong++
			}
			if err := keep(r); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d cases did not end as they must", wrong)
	}
	return nil
}

func has(phases []string, phase string) bool {
	for _, p := range phases {
		if p == phase {
			return true
		}
	}
	return false
}

func (s *stage) build(ctx context.Context, machine *developer.Machine) error {
	namespace, err := s.cluster.Client.CoreV1().Namespaces().Create(ctx, &core.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "chaos-"}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making a namespace: %w", err)
	}
	s.namespace = namespace.Name
	if s.user, err = s.cluster.NewUser(ctx, "dev-"+s.namespace); err != nil {
		return err
	}
	if err := s.cluster.Grant(ctx, s.user, s.namespace, "understudy-user"); err != nil {
		return err
	}
	kubeconfig, err := s.user.Kubeconfig(s.namespace, "")
	if err != nil {
		return err
	}
	if s.dev, err = machine.Developer(kubeconfig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if s.monitor, err = workload.Broker(ctx, s.cluster, s.namespace); err != nil {
		return err
	}
	if err := workload.Start(ctx, s.cluster, s.namespace, "worker", workload.Options{Replicas: replicas}); err != nil {
		return err
	}
	if s.workload, err = snapshot.Take(ctx, s.cluster, s.namespace, "worker"); err != nil {
		return err
	}
	s.inventory, err = snapshot.Inventory(ctx, s.cluster, s.namespace)
	return err
}

func (s *stage) leave(ctx context.Context) {
	if s.namespace == "" {
		return
	}
	if err := s.cluster.Client.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, "clearing away:", err)
	}
}

// trial plays one case. An error is what keeps the next from being played; what
// went wrong with the session is in the result.
func (s *stage) trial(ctx context.Context, c kase, phase string) (result, error) {
	r := result{Fault: c.name, Phase: phase, When: time.Now().UTC()}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, fmt.Errorf("it took more than %s", 2*patience))
	defer cancel()
	before, err := s.monitor.Read(ctx)
	if err != nil {
		return r, err
	}
	run, err := s.dev.Understudy("exec", "-t", "deployment/worker", "--copy-target", "--scale-down", "--lease", lease.String(), "--", "worker", "--site=local")
	if err != nil {
		return r, err
	}
	defer run.Kill()
	wants := cluster.HasCondition(understudy.ConditionReady)
	if phase == beginning {
		wants = cluster.HasCondition(understudy.ConditionClaimed)
	}
	if _, err := s.cluster.SessionUntil(ctx, s.namespace, wants); err != nil {
		return r, fmt.Errorf("%w\n%s", err, run)
	}
	if err := workload.Publish(ctx, s.cluster, s.namespace, messages, 0); err != nil {
		return r, err
	}
	if phase == ending {
		if err := run.Interrupt(); err != nil {
			return r, fmt.Errorf("ending the command: %w", err)
		}
	}
	since := time.Now()
	if err := c.strike(ctx, s, run); err != nil {
		return r, err
	}
	if !c.gone && phase != ending {
		since = time.Now()
		if err := run.Interrupt(); err != nil && !run.Ended() {
			return r, fmt.Errorf("ending the command: %w", err)
		}
	}
	if c.heal != nil {
		timer := time.NewTimer(c.after)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		if err := c.heal(ctx, s, run); err != nil {
			return r, err
		}
	}
	s.judge(ctx, &r, since)
	run.Kill()
	if err := workload.Publish(ctx, s.cluster, s.namespace, messages, 0); err != nil {
		return r, err
	}
	return r, s.count(ctx, &r, before)
}

// judge waits until all is back, and says what is not.
func (s *stage) judge(ctx context.Context, r *result, since time.Time) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took more than %s", patience))
	defer cancel()
	fail := func(err error) { r.Problem = strings.ReplaceAll(err.Error(), "\n", " ") }
	err := cluster.Until(ctx, func(ctx context.Context) error {
		d, err := s.cluster.Client.AppsV1().Deployments(s.namespace).Get(ctx, "worker", metav1.GetOptions{})
		if err != nil {
			return err
		}
		sessions, err := s.cluster.Sessions(ctx, s.namespace)
		if err != nil {
			return err
		}
		// Before the hold the number is right, and that is no restore.
		for _, session := range sessions {
			if len(session.Finalizers) > 0 {
				return errors.New("there is still a session")
			}
		}
		if *d.Spec.Replicas != replicas {
			return fmt.Errorf("the workload is at %d", *d.Spec.Replicas)
		}
		return nil
	})
	r.Seconds = time.Since(since).Seconds()
	if err == nil {
		err = s.cluster.Available(ctx, s.namespace, "worker", replicas)
	}
	if err != nil {
		fail(err)
		return
	}
	var left, diff string
	err = cluster.Until(ctx, func(ctx context.Context) error {
		if err := s.readEnded(ctx); err != nil {
			return err
		}
		inventory, err := snapshot.Inventory(ctx, s.cluster, s.namespace)
		if err != nil {
			return err
		}
		after, err := snapshot.Take(ctx, s.cluster, s.namespace, "worker")
		if err != nil {
			return err
		}
		left, diff = cmp.Diff(s.inventory, inventory), snapshot.Diff(s.workload, after)
		if left+diff != "" {
			return errors.New("it is not what it was")
		}
		return nil
	})
	r.Left = strings.Join(strings.Fields(left), " ")
	if err != nil && diff != "" {
		fail(fmt.Errorf("the object differs: %s", strings.Join(strings.Fields(diff), " ")))
		return
	}
	r.Right = true
}

// readEnded deletes sessions that ended by themselves and are kept to be read.
func (s *stage) readEnded(ctx context.Context) error {
	sessions, err := s.cluster.Sessions(ctx, s.namespace)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if len(session.Finalizers) == 0 && session.DeletionTimestamp == nil {
			if err := s.cluster.DeleteSession(ctx, s.user, session); err != nil {
				return err
			}
		}
	}
	return nil
}

// count waits until the queue is at rest, and counts what nobody acknowledged.
func (s *stage) count(ctx context.Context, r *result, before queue.Counters) error {
	var now queue.Counters
	err := cluster.Until(ctx, func(ctx context.Context) (err error) {
		if now, err = s.monitor.Read(ctx); err != nil {
			return err
		}
		if now.Waiting+now.InFlight > 0 {
			return fmt.Errorf("%d messages wait and %d are in flight", now.Waiting, now.InFlight)
		}
		return nil
	})
	r.Published = now.Published - before.Published
	r.Lost = now.Stored
	return err
}

func (s *stage) eachStandIn(ctx context.Context, do func(core.Pod) error) error {
	pods, err := s.cluster.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: understudy.SessionLabel})
	if err != nil {
		return fmt.Errorf("looking for stand-ins: %w", err)
	}
	var failures []error
	for _, pod := range pods.Items {
		failures = append(failures, do(pod))
	}
	return errors.Join(failures...)
}
