package session

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

var errCut = errors.New("cut here")

// stride is how many writes an operator of TestKilledAtEveryWrite may make
// before it dies too; 0 lets the second one live. Less than it takes to make a
// stand-in would have none of them get anywhere.
var stride = flag.Int("stride", 10, "kill every so manieth write of a session; 0 kills one operator in each session only")

// killsMost is how many operators die in one session. Each interrupted attempt
// at a stand-in leaves a number that the next one passes over, so that operators
// that always die after as many writes would at last get nowhere.
const killsMost = 3

// cutter lets writes through until the one at which the operator dies: before
// it reached the API server, or after it, without the answer. The next operator
// dies every writes later.
type cutter struct {
	at    int
	every int
	// idle lets everything through, uncounted.
	idle  bool
	after bool
	count int
	dead  bool
	// killed says what each operator died at.
	killed []string
}

// revive lets the next operator write.
func (c *cutter) revive() {
	c.dead = false
	if c.every > 0 && len(c.killed) < killsMost {
		c.at = c.count + c.every
	}
}

func (c *cutter) write(what string, do func() error) error {
	if c.dead {
		return errCut
	}
	if c.idle {
		return do()
	}
	if c.count++; c.count != c.at {
		return do()
	}
	c.dead, c.killed = true, append(c.killed, what)
	if c.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errCut
}

func (c *cutter) over(w client.WithWatch) client.WithWatch {
	return interceptor.NewClient(w, interceptor.Funcs{
		Create: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return c.write(fmt.Sprintf("create %T", o), func() error { return w.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return c.write(fmt.Sprintf("delete %T", o), func() error { return w.Delete(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return c.write(fmt.Sprintf("update %T", o), func() error { return w.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, w client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return c.write(fmt.Sprintf("patch %T", o), func() error { return w.Patch(ctx, o, p, opts...) })
		},
		Apply: func(ctx context.Context, w client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return c.write(fmt.Sprintf("apply %T", o), func() error { return w.Apply(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, w client.Client, name string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return c.write(fmt.Sprintf("update %s of %T", name, o), func() error { return w.SubResource(name).Update(ctx, o, opts...) })
		},
	})
}

// story is what happens around the operator in one session; each part happens
// once, when its moment has come.
type story struct {
	name string
	// number that the workload has at the end, and whether the whole object
	// must be what it was.
	number int32
	same   bool
	// during happens once, when the session is ready for the first time. With
	// it, only the writes until the session is ready again are cut: those
	// before and after are the quiet story's.
	during func(*world)
	// writes that there are at least.
	writes int
	// theirs: the team is no owner of the number afterwards.
	theirs bool
}

var stories = []story{
	{name: "quiet", number: 3, same: true, writes: 20},
	{name: "stranger scales", number: 5, writes: 3, theirs: true, during: func(w *world) { w.scale("worker", 5, "kubectl") }},
	{name: "team applies another number", number: 4, writes: 3, during: func(w *world) {
		if err := w.team("worker", 4); err != nil {
			w.t.Errorf("the team's apply during the session: %v", err)
		}
	}},
	{name: "replaced by force by what was read of it", number: 3, writes: 3, theirs: true, during: func(w *world) { w.replaceByForce("worker", w.deployment("worker")) }},
	{name: "stand-in deleted", number: 3, same: true, writes: 6, during: func(w *world) {
		w.must(w.DeleteAllOf(w.ctx, &corev1.Pod{}, client.InNamespace(w.namespace), client.MatchingLabels{"understudy.dev/session": "alice"}))
	}},
}

// The operator is killed at every write of a whole session, before and after
// it, and another one goes on. Whatever the moment, the workload comes back as
// it was, nobody reads the queue twice, and nothing is left.
//
// In each session the operator dies at every stride-th write, and each session
// begins one write later than the one before, until all have had their turn.
func TestKilledAtEveryWrite(t *testing.T) {
	for _, s := range stories {
		for _, after := range []bool{false, true} {
			name := s.name + ", request lost"
			if after {
				name = s.name + ", answer lost"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				killed := 0
				for at := 1; *stride == 0 || at <= *stride; at++ {
					cut := &cutter{at: at, every: *stride, after: after}
					t.Run(fmt.Sprintf("from write %d", at), func(t *testing.T) { play(t, s, cut) })
					if killed += len(cut.killed); len(cut.killed) == 0 {
						break
					}
				}
				if killed < s.writes {
					t.Errorf("%d operators were killed, of at least %d: the test does not see the writes", killed, s.writes)
				}
			})
		}
	}
}

func play(t *testing.T, s story, cut *cutter) {
	w := newWorld(t)
	w.gate, w.labels = true, ofKustomization
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator := w.operator(cut.over(w.WithWatch))
	step := func() {
		w.play()
		err := w.reconcile(operator, "alice")
		if err != nil && !cut.dead {
			t.Fatalf("reconciling: %v", err)
		}
		if cut.dead && err != nil {
			cut.revive()
			operator = w.operator(cut.over(w.WithWatch))
		}
		w.checkPromises("worker", "alice")
	}
	cut.idle = s.during != nil
	w.until("the session is ready", func() bool { step(); return w.isReady("alice") })
	if s.during != nil {
		cut.idle = false
		s.during(w)
		w.settle(step)
		w.until("the session is ready again", func() bool { step(); return w.isReady("alice") })
		cut.idle = true
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.until("the session is gone", func() bool { step(); return w.session("alice") == nil })
	w.until("the workload's pods are back", func() bool { w.play(); return w.running("worker") == int(s.number) })
	if s.same {
		w.checkSame(before, w.deployment("worker"))
	}
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if err := w.team("worker", 7); err != nil && !s.theirs {
		t.Errorf("the team's next apply: %v", err)
	}
	if t.Failed() {
		t.Logf("killed at %q, after it: %v", cut.killed, cut.after)
	}
}

// settle gives the operator two rounds to see what happened.
func (w *world) settle(step func()) {
	for range 2 {
		step()
	}
}

// checkPromises looks at what must hold at every moment.
func (w *world) checkPromises(deployment, name string) {
	w.t.Helper()
	session, d := w.session(name), w.deployment(deployment)
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.MatchingLabels{"app": deployment}))
	var old, standIns []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		_, standIn := pod.Labels[v1alpha1.SessionLabel]
		switch {
		case !containerRuns(pod, "worker"):
		case standIn:
			standIns = append(standIns, pod.Name)
		default:
			old = append(old, pod.Name)
		}
	}
	if session != nil && meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionReady) && len(old) > 0 {
		w.t.Errorf("ready, and pods of the workload run: %q", old)
	}
	zero := *d.Spec.Replicas == 0
	if zero && (session == nil || session.Status.Record == nil || session.Status.Record.Replicas == 0) {
		w.t.Errorf("at zero, and nobody remembers what it was")
	}
	if zero && d.Annotations[v1alpha1.ClaimAnnotation] == "" {
		w.t.Errorf("at zero without a claim")
	}
	if v1alpha1.Marked(d.Labels) && d.Annotations[v1alpha1.ClaimAnnotation] == "" {
		w.t.Errorf("kept from Flux without a claim")
	}
	if session != nil && !session.DeletionTimestamp.IsZero() && !zero && session.Status.HeldAt != nil && len(standIns) > 0 {
		w.t.Errorf("the workload is back while stand-ins run: %q", standIns)
	}
}

// scale writes through the scale subresource, as kubectl does.
func (w *world) scale(name string, replicas int32, manager string) {
	w.t.Helper()
	d := w.deployment(name)
	patch := client.RawPatch("application/merge-patch+json", []byte(fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)))
	if err := w.SubResource("scale").Patch(w.ctx, d, patch, client.FieldOwner(manager)); err != nil && !apierrors.IsConflict(err) {
		w.t.Fatal(err)
	}
}
