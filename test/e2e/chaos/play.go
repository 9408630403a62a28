package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/fault"
	"understudy.dev/understudy/test/e2e/laptop"
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
	machine   *developer.Machine
	dev       *developer.Developer
	// program that the developer types.
	program   string
	monitor   queue.Monitor
	workload  snapshot.Snapshot
	inventory []string
	// calm is held, for reading, by what a case itself asks of the cluster that
	// would not ask again: a storm that takes the API server away waits for it.
	calm *sync.RWMutex

	// What cases have made: see surroundings.go.
	road     *laptop.Network
	proxies  []*fault.Proxy
	outside  *fault.Outside
	ownClock bool
	drained  string
}

// set builds the stage, and answers how to leave it.
func set(ctx context.Context) (s *stage, leave func() error, err error) {
	s = &stage{program: "understudy", calm: new(sync.RWMutex)}
	if s.cluster, err = cluster.Connect(); err != nil {
		return nil, nil, err
	}
	if s.machine, err = developer.NewMachine(os.Getenv("E2E_PROGRAMS"), os.Getenv("E2E_BIN"), os.Getenv("CHAOS_OFF")); err != nil {
		return nil, nil, err
	}
	leave = func() error {
		s.leave(context.WithoutCancel(ctx))
		return s.machine.Close()
	}
	if err := s.build(ctx); err != nil {
		return nil, nil, errors.Join(err, leave())
	}
	return s, leave, nil
}

func play(ctx context.Context, pattern string, rest bool, bound time.Time) (err error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("reading the pattern: %w", err)
	}
	var seen []result
	if err := load("cluster.json", &seen); err != nil {
		return err
	}
	done := func(c kase, phase string) bool {
		return rest && slices.ContainsFunc(seen, func(r result) bool { return r.Fault == c.name && r.Phase == phase && r.good() })
	}
	s, leave, err := set(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	wrong := 0
	for _, outside := range []bool{false, true} {
		// The phase in which sessions spend their time comes first.
		for _, phase := range everyPhase {
			for _, c := range cases {
				if c.outside != outside || !wanted.MatchString(c.name) || !slices.Contains(c.phases, phase) || done(c, phase) || time.Now().After(bound) || ctx.Err() != nil {
					continue
				}
				r, err := s.trial(ctx, c, phase, 0)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, phase, err)
				}
				if !r.good() {
					wrong++
				}
				if err := keep(r); err != nil {
					return err
				}
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d cases did not end as they must", wrong)
	}
	return nil
}

func (s *stage) build(ctx context.Context) error {
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
	if s.dev, err = s.machine.Developer(kubeconfig); err != nil {
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
	if err := errors.Join(s.undrain(ctx), s.place(ctx, false)); err != nil {
		fmt.Fprintln(os.Stderr, "clearing away:", err)
	}
	if err := s.cluster.Client.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, "clearing away:", err)
	}
}

// trial plays one case, and says what came of it. An error is what keeps the
// next from being played; what went wrong with the session is in the result.
func (s *stage) trial(ctx context.Context, c kase, phase string, lag time.Duration) (r result, err error) {
	r, err = s.playCase(ctx, c, phase, lag)
	fmt.Fprintf(os.Stderr, "%s, %s: right %v after %.1f s; left over %q; %d of %d messages lost %s\n", r.Fault, r.Phase, r.Right, r.Seconds, r.Left, r.Lost, r.Published, r.Problem)
	if (!r.good() || err != nil) && !errors.Is(err, errTurnedAway) {
		fmt.Fprintln(os.Stderr, s.cluster.Report(context.WithoutCancel(ctx), s.namespace))
	}
	if !r.good() && s.outside != nil {
		fmt.Fprintf(os.Stderr, "the operator outside of the cluster said:\n%s\n", s.outside.Said())
	}
	return r, err
}

func (s *stage) playCase(ctx context.Context, c kase, phase string, lag time.Duration) (r result, err error) {
	r = result{Fault: c.name, Phase: phase, When: time.Now().UTC(), Build: build()}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, fmt.Errorf("it took more than %s", 2*patience))
	defer cancel()
	if err := s.place(ctx, c.outside); err != nil {
		return r, err
	}
	if c.with != nil {
		undo, broken := c.with(ctx, s)
		if broken != nil {
			return r, broken
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	before, run, err := s.begin(ctx, phase)
	if run != nil {
		defer run.Kill()
	}
	if err != nil {
		return r, err
	}
	if err := wait(ctx, lag); err != nil {
		return r, err
	}
	if c.gone && lag == 0 && run.Ended() {
		r.Problem = fault.ErrNoFault.Error() // there was nobody to be gone
	}
	since := time.Now()
	if err := s.calmly(func() error { return c.strike(ctx, s, run) }); errors.Is(err, fault.ErrNoFault) {
		r.Problem = err.Error()
	} else if err != nil {
		return r, err
	}
	if !c.gone && phase != ending {
		since = time.Now()
		if err := run.Interrupt(); err != nil && !run.Ended() {
			return r, fmt.Errorf("ending the command: %w", err)
		}
	}
	if c.heal != nil {
		if err := wait(ctx, c.after); err != nil {
			return r, err
		}
		if err := s.calmly(func() error { return c.heal(ctx, s, run) }); errors.Is(err, fault.ErrNoFault) {
			r.Problem = err.Error()
		} else if err != nil {
			return r, err
		}
	}
	s.judge(ctx, &r, since)
	run.Kill()
	if err := s.calmly(func() error { return workload.Publish(ctx, s.cluster, s.namespace, messages, 0) }); err != nil {
		return r, err
	}
	return r, s.count(ctx, &r, before)
}

// begin starts a session, waits for its phase, and puts the first messages into the
// queue. It answers what the broker had counted before.
func (s *stage) begin(ctx context.Context, phase string) (before queue.Counters, run *developer.Run, err error) {
	s.calm.RLock()
	defer s.calm.RUnlock()
	if before, err = s.monitor.Read(ctx); err != nil {
		return before, nil, err
	}
	run, err = s.dev.Start(s.dev.Program(s.program), "exec", "-t", "deployment/worker", "--copy-target", "--scale-down", "--lease", lease.String(), "--", "worker", "--site=local")
	if err != nil {
		return before, nil, err
	}
	wants := cluster.HasCondition(understudy.ConditionReady)
	if phase == beginning {
		wants = cluster.HasCondition(understudy.ConditionClaimed)
	}
	waiting, stop := context.WithCancelCause(ctx)
	go func() {
		_, _ = run.Exit(waiting) // either way there is nothing more to wait for
		stop(errTurnedAway)
	}()
	_, err = s.cluster.SessionUntil(waiting, s.namespace, wants)
	stop(nil)
	if err != nil {
		return before, run, fmt.Errorf("%w\n%s", err, run)
	}
	if err := workload.Publish(ctx, s.cluster, s.namespace, messages, 0); err != nil {
		return before, run, err
	}
	if phase == ending {
		if err := run.Interrupt(); err != nil {
			return before, run, fmt.Errorf("ending the command: %w", err)
		}
	}
	return before, run, nil
}

// errTurnedAway is of a command that ended by itself before its session had come to
// the phase that was waited for.
var errTurnedAway = errors.New("the command has ended")

// calmly does a step of a case that no storm may cut short.
func (s *stage) calmly(step func() error) error {
	s.calm.RLock()
	defer s.calm.RUnlock()
	return step()
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
	r.Right = r.Problem == ""
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
	if err != nil {
		return err
	}
	// The broker takes what was acknowledged out of its store a moment later.
	settled, cancel := context.WithTimeout(ctx, storeLag)
	defer cancel()
	err = cluster.Until(settled, func(ctx context.Context) error {
		counters, err := s.monitor.Read(ctx)
		if err != nil {
			return err
		}
		if now = counters; now.Stored > 0 {
			return fmt.Errorf("%d messages are stored", now.Stored)
		}
		return nil
	})
	if ctx.Err() != nil {
		return err
	}
	r.Published = now.Published - before.Published
	r.Lost = now.Stored
	return nil
}

// storeLag is how long a message that nobody acknowledged may be in the store
// before it is lost.
const storeLag = 10 * time.Second

func (s *stage) eachStandIn(ctx context.Context, do func(core.Pod) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, standInWithin, fault.ErrNoFault)
	defer cancel()
	return cluster.Until(ctx, func(ctx context.Context) error {
		pods, err := s.cluster.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: understudy.SessionLabel})
		if err != nil {
			return fmt.Errorf("looking for stand-ins: %w", err)
		}
		failures := []error{}
		for _, pod := range pods.Items {
			failures = append(failures, do(pod))
		}
		if len(failures) == 0 {
			return errors.New("there is no stand-in")
		}
		return errors.Join(failures...)
	})
}

// standInWithin is how long a stand-in is waited for that something is to be done to.
const standInWithin = 5 * time.Second
