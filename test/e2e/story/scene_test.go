// Package story holds the end-to-end tests: one story each, told in a user's
// words, on a real cluster, by a developer who is not root there nor here.
// What it asserts are the broker's own counters and whole objects before and
// after. `make e2e` runs it.
package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/laptop"
	"understudy.dev/understudy/test/e2e/snapshot"
	"understudy.dev/understudy/test/e2e/workload"
)

// patience bounds every wait of a story; nothing that works takes so long.
const patience = 90 * time.Second

var (
	theCluster *cluster.Cluster
	theMachine *developer.Machine
)

func TestMain(m *testing.M) {
	if _, err := workload.Image(); err != nil {
		fmt.Println("SKIPPED: every story, because it needs a cluster with everything installed:", err)
		return
	}
	var err error
	if theCluster, err = cluster.Connect(); err == nil {
		theMachine, err = developer.NewMachine(os.Getenv("E2E_PROGRAMS"), os.Getenv("E2E_BIN"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	code := m.Run()
	theMachine.Close()
	os.Exit(code)
}

// scene is where one story takes place: a namespace and a developer in it.
type scene struct {
	*testing.T
	ctx       context.Context
	namespace string
	user      *cluster.User
	dev       *developer.Developer
	runs      []*developer.Run
}

// newScene makes a namespace of the story's own and a developer who has only
// the chart's user role, and only there.
func newScene(t *testing.T) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s := &scene{T: t, ctx: ctx}
	namespace, err := theCluster.Client.CoreV1().Namespaces().Create(ctx, &core.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: map[string]string{"story": label(t.Name())}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.namespace = namespace.Name
	t.Cleanup(s.leave)
	s.user = s.newUser("dev-" + s.namespace)
	s.grant(s.user, s.namespace)
	s.dev = s.developer(s.user, nil)
	return s
}

// label makes a label's value of a test's name.
func label(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(name[:min(len(name), 63)], "-")
}

// leave says what there is to say of a story that failed, and clears away.
func (s *scene) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.Failed() {
		for _, r := range s.runs {
			s.Logf("%s", r)
		}
		s.Logf("%s", theCluster.Report(ctx, s.namespace))
	}
	for _, r := range s.runs {
		r.Kill()
	}
	background := metav1.DeletePropagationBackground
	err := theCluster.Client.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil {
		s.Errorf("clearing away: %v", err)
	}
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// within is a context for one wait.
func (s *scene) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(s.ctx, d, fmt.Errorf("it took more than %s", d))
	s.Cleanup(cancel)
	return ctx
}

func (s *scene) newUser(name string) *cluster.User {
	s.Helper()
	user, err := theCluster.NewUser(s.within(patience), name)
	s.must(err)
	return user
}

func (s *scene) grant(user *cluster.User, namespace string) {
	s.Helper()
	s.must(theCluster.Grant(s.ctx, user, namespace, "understudy-user"))
}

// developer puts a user at the machine, on a laptop's own network if there is
// one.
func (s *scene) developer(user *cluster.User, network *laptop.Network) *developer.Developer {
	s.Helper()
	server := ""
	if network != nil {
		server = network.Server()
	}
	kubeconfig, err := user.Kubeconfig(s.namespace, server)
	s.must(err)
	dev, err := theMachine.Developer(kubeconfig)
	s.must(err)
	dev.Network = network
	return dev
}

// run types a command as the scene's developer.
func (s *scene) run(program string, args ...string) *developer.Run {
	s.Helper()
	r, err := s.dev.Start(s.dev.Program(program), args...)
	s.must(err)
	s.runs = append(s.runs, r)
	return r
}

// takeOver types the main job: `understudy exec --copy-target --scale-down`
// with the flags, and what is after "--".
func (s *scene) takeOver(target string, flags []string, command ...string) *developer.Run {
	s.Helper()
	args := append([]string{"exec", "-t", target, "--copy-target", "--scale-down"}, flags...)
	return s.run("understudy", append(append(args, "--"), command...)...)
}

// ready waits until the session says Ready and the local process has said what
// it says when it runs.
func (s *scene) ready(r *developer.Run, says string) understudy.Session {
	s.Helper()
	session, err := theCluster.SessionUntil(s.stopsWith(r), s.namespace, cluster.HasCondition(understudy.ConditionReady))
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.says(r, says)
	return session
}

// stopsWith is a context that ends when the command does, with why.
func (s *scene) stopsWith(r *developer.Run) context.Context {
	ctx, cancel := context.WithCancelCause(s.within(patience))
	go func() {
		_, err := r.Exit(ctx)
		if err == nil {
			cancel(errors.New("the command has ended"))
		}
	}()
	return ctx
}

// says waits until the command has said something that the pattern matches.
func (s *scene) says(r *developer.Run, pattern string) []string {
	s.Helper()
	found, err := r.Out.Saw(s.stopsWith(r), pattern)
	if err != nil {
		s.Fatalf("%v", err)
	}
	return found
}

// exits waits for the command's end and checks its exit code.
func (s *scene) exits(r *developer.Run, want int) {
	s.Helper()
	code, err := r.Exit(s.within(patience))
	s.must(err)
	if code != want {
		s.Errorf("the exit code is %d, not %d", code, want)
	}
}

// start applies a manifest of package workload and waits for it.
func (s *scene) start(name string, o workload.Options) {
	s.Helper()
	s.must(workload.Start(s.within(patience), theCluster, s.namespace, name, o))
}

// likeness is all that has to be the same before and after a session.
type likeness struct {
	workload  snapshot.Snapshot
	inventory []string
	name      string
	replicas  int32
}

// remember takes a likeness of a deployment that is at rest.
func (s *scene) remember(name string, replicas int32) likeness {
	s.Helper()
	s.must(theCluster.Available(s.within(patience), s.namespace, name, replicas))
	w, err := snapshot.Take(s.ctx, theCluster, s.namespace, name)
	s.must(err)
	inventory, err := snapshot.Inventory(s.ctx, theCluster, s.namespace)
	s.must(err)
	return likeness{workload: w, inventory: inventory, name: name, replicas: replicas}
}

// unchanged waits until the replicas are back and nothing of a session is
// left, and then compares every field.
func (s *scene) unchanged(before likeness) {
	s.Helper()
	s.asBefore(s.within(60*time.Second), before)
}

// asBefore is unchanged with a patience of its own; it may be called on any
// goroutine.
func (s *scene) asBefore(ctx context.Context, before likeness) bool {
	s.Helper()
	if err := theCluster.Available(ctx, s.namespace, before.name, before.replicas); err != nil {
		s.Error(err)
		return false
	}
	var left string
	err := cluster.Until(ctx, func(ctx context.Context) error {
		inventory, err := snapshot.Inventory(ctx, theCluster, s.namespace)
		if err != nil {
			return err
		}
		if left = cmp.Diff(before.inventory, inventory); left != "" {
			return errors.New("something is left over")
		}
		return nil
	})
	if err != nil {
		s.Errorf("%v (-before +after):\n%s", err, left)
		return false
	}
	// A node that is busy may still say something of a pod's readiness; what
	// differs for good is a difference.
	var diff string
	err = cluster.Until(ctx, func(ctx context.Context) error {
		after, err := snapshot.Take(ctx, theCluster, s.namespace, before.name)
		if err != nil {
			return err
		}
		if diff = snapshot.Diff(before.workload, after); diff != "" {
			return errors.New("the deployment is not what it was")
		}
		return nil
	})
	if err != nil {
		s.Errorf("%v (-before +after):\n%s", err, diff)
		return false
	}
	return true
}

// ended waits until the session that nobody ended has ended by itself, for the
// reason given and with nothing held, and reads it as its owner would: it is
// kept for a while to be read. Where that while is as long as an installation
// has it by default, its owner deletes it.
func (s *scene) ended(reason string) {
	s.Helper()
	session, err := theCluster.SessionUntil(s.within(patience), s.namespace, func(session understudy.Session) error {
		if err := cluster.HasCondition(understudy.ConditionRestored)(session); err != nil {
			return err
		}
		if len(session.Finalizers) != 0 {
			return fmt.Errorf("it has the finalizers %v", session.Finalizers)
		}
		return nil
	})
	s.must(err)
	if c := meta.FindStatusCondition(session.Status.Conditions, understudy.ConditionReady); c == nil || c.Reason != reason {
		s.Errorf("the session ended for another reason than %s: %+v", reason, c)
	}
	if os.Getenv("KEEP_ENDED") == "" {
		s.must(theCluster.DeleteSession(s.ctx, s.user, session))
	}
}

// nobodyLeft waits until no process of the run is left on the machine: the
// command's own at once, the tool's when it has said goodbye to the cluster.
func (s *scene) nobodyLeft(r *developer.Run) {
	s.Helper()
	wait := func(patience time.Duration, left func() []developer.Process) {
		s.Helper()
		s.must(cluster.Until(s.within(patience), func(context.Context) error {
			if found := left(); len(found) > 0 {
				return fmt.Errorf("still running: %+v", found)
			}
			return nil
		}))
	}
	wait(10*time.Second, func() []developer.Process {
		return slices.DeleteFunc(r.Processes(), func(p developer.Process) bool { return p.Program == "understudy" })
	})
	wait(patience, r.Processes)
}

// replicas is the number that the deployment wishes now, and its pods in which
// anything runs or may yet run.
func (s *scene) replicas(name string) (wished int32, pods []string) {
	s.Helper()
	d, err := theCluster.Client.AppsV1().Deployments(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	list, err := theCluster.Client.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	s.must(err)
	for _, p := range list.Items {
		if owner := metav1.GetControllerOf(&p); owner != nil && owner.Kind == "ReplicaSet" && !over(p) {
			pods = append(pods, p.Name)
		}
	}
	slices.Sort(pods)
	return *d.Spec.Replicas, pods
}

// over says that nothing runs in the pod any more and nothing will: it is on
// its way out, and each of its containers has ended.
func over(p core.Pod) bool {
	return p.DeletionTimestamp != nil && !slices.ContainsFunc(p.Status.ContainerStatuses, func(c core.ContainerStatus) bool {
		return c.State.Terminated == nil
	})
}
