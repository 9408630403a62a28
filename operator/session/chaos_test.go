package session

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// `make chaos` sets these; by themselves the tests take a few seconds of it.
var (
	everyFault  = flag.Bool("every-fault", false, "each fault at each request of a session, in a session of its own")
	chaosRounds = flag.Int("sessions", 6, "random sessions with faults")
	chaosSeed   = flag.Uint64("seed", 1, "seed of the random sessions; 0 is a new one, as \"make chaos\" has it")
	chaosOnly   = flag.Int("session", -1, "play that one of the random sessions alone")
	chaosReport = flag.String("report", "", "file to write what was seen to, as JSON")
	chaosBuild  = flag.String("build", "", "commit that the report says it is of")
)

// seen is one row of the crash matrix.
type seen struct {
	Fault string `json:"fault"`
	Phase string `json:"phase"`
	// Sessions that met it, and how many ended with the workload equal to what it
	// was and nothing left over.
	Sessions int `json:"sessions"`
	Equal    int `json:"equal"`
	Left     int `json:"leftOver"`
	// Looks is how many reconciliations it took at most from the session's end to
	// its being gone.
	Looks int `json:"looks"`
}

// ledger is what all the tests of a run have seen.
var ledger struct {
	sync.Mutex
	Seed   uint64
	Random seen
	Rows   []*seen
}

func note(fault, phase string, equal bool, left, looks int) {
	ledger.Lock()
	defer ledger.Unlock()
	i := slices.IndexFunc(ledger.Rows, func(r *seen) bool { return r.Fault == fault && r.Phase == phase })
	if i < 0 {
		i = len(ledger.Rows)
		ledger.Rows = append(ledger.Rows, &seen{Fault: fault, Phase: phase})
	}
	ledger.Rows[i].add(equal, left, looks)
}

func (s *seen) add(equal bool, left, looks int) {
	s.Sessions++
	if equal {
		s.Equal++
	}
	s.Left += left
	s.Looks = max(s.Looks, looks)
}

func writeReport(t *testing.T) {
	t.Helper()
	if *chaosReport == "" {
		return
	}
	ledger.Lock()
	defer ledger.Unlock()
	data, err := json.MarshalIndent(map[string]any{"build": *chaosBuild, "seed": ledger.Seed, "random": ledger.Random, "rows": ledger.Rows}, "", " ")
	if err == nil {
		err = os.WriteFile(*chaosReport, data, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// trials plays one session after the other on one workload, each with faults of
// its own. The workload's pods need not be there again for the next to begin.
type trials struct {
	*world
	faults *faults
	before *appsv1.Deployment
	number int32
	count  int
	// lives is the operator that does.
	lives *Reconciler
	// forced says that the session was removed without its finalizer's consent.
	forced bool
	// argoCD are the namespaces of the applications that may be paused.
	argoCD []string
	// last is what the operator said last.
	last error
}

func newTrials(t *testing.T, replicas int32) *trials {
	t.Helper()
	w := newWorld(t)
	w.gate, w.labels = true, ofKustomization
	w.deploy("worker", replicas)
	transport, err := rest.TransportFor(w.config)
	w.must(err)
	return &trials{world: w, before: w.deployment("worker"), number: replicas, faults: &faults{next: transport}}
}

// play plays one session: moment is called before each look of the operator
// and ends the session in time.
func (tr *trials) play(moment func(name string, look int)) (equal bool, left, looks int) {
	tr.t.Helper()
	tr.count++
	name := fmt.Sprintf("alice-%d", tr.count)
	tr.faults.met, tr.forced = nil, false
	tr.ask(name, "worker")
	tr.faults.wrote = func(a attempt) {
		if tr.number > 0 && (a.what == "deployments" || a.what == "sessions/status") {
			tr.checkPromises("worker", name)
		}
	}
	operator := tr.live()
	tr.lives = operator
	ended := 0
	for look := 0; ; look++ {
		if look > 600 {
			tr.dump()
			tr.t.Fatalf("session %s never ends; the operator says %v; it met %q", name, tr.last, tr.faults.met)
		}
		tr.world.play()
		moment(name, look)
		ctx := context.WithValue(tr.ctx, faultsKey{}, tr.faults)
		_, tr.last = operator.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: tr.namespace, Name: name}})
		if tr.faults.revive() {
			operator = tr.live()
			tr.lives = operator
		}
		s := tr.world.session(name)
		if s == nil || ended > 0 || !s.DeletionTimestamp.IsZero() {
			ended++
		}
		if s == nil {
			if n := *tr.deployment("worker").Spec.Replicas; n != tr.number && !tr.forced {
				tr.t.Errorf("session %s is gone, and the workload is at %d, not %d; it met %q", name, n, tr.number, tr.faults.met)
			}
			tr.sweep(operator)
			break
		}
		if tr.number > 0 {
			tr.checkPromises("worker", name)
		}
	}
	tr.until("the workload's pods are back", func() bool {
		tr.world.play()
		return tr.running("worker") == int(tr.number) && tr.deployment("worker").Status.ObservedGeneration == tr.deployment("worker").Generation
	})
	diff := cmp.Diff(normal(tr.t, tr.before), normal(tr.t, tr.deployment("worker")))
	remains := append(tr.leftovers("worker"), tr.left(&corev1.PodList{}, &corev1.SecretList{}, &coordinationv1.LeaseList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{})...)
	if diff != "" || len(remains) > 0 {
		tr.t.Errorf("session %s met %q; the workload differs (-before +after):\n%s\nleft over: %q", name, tr.faults.met, diff, remains)
	}
	return diff == "", len(remains), ended
}

// live is a new operator, behind the faults.
func (tr *trials) live() *Reconciler {
	c := tr.faults.reach(tr.world)
	r := tr.operator(c)
	r.Live, r.Hearing.Live, r.ArgoCD = c, c, tr.argoCD
	return r
}

// sweep is what the operator does of itself when a session is gone: its workload
// is looked at. It meets the same faults.
func (tr *trials) sweep(operator *Reconciler) {
	tr.t.Helper()
	for try, done := 0, 0; ; try++ {
		// The garbage collector's part, where a session was removed by force.
		tr.must(tr.DeleteAllOf(tr.ctx, &corev1.Pod{}, client.InNamespace(tr.namespace), client.HasLabels{v1alpha1.SessionLabel}))
		sweeper := &Sweeper{Reconciler: operator, Kind: hold.Deployment{}}
		err := sweeper.sweepOneFor(tr.world, tr.deployment("worker"))
		died := tr.faults.revive()
		// Once more, as it asks for while a controller may write by an old view.
		if err == nil && !died {
			if done++; done == 2 {
				return
			}
		}
		if died {
			operator = tr.live()
		}
		if try > 100 {
			tr.t.Fatalf("sweeping never succeeds: %v; it met %q", err, tr.faults.met)
		}
	}
}

// endWhenReady deletes the session once it is ready.
func (tr *trials) endWhenReady(name string, _ int) {
	if tr.isReady(name) {
		tr.must(client.IgnoreNotFound(tr.Delete(tr.ctx, tr.world.session(name))))
	}
}

// The operator is killed before each step of a session, one after the other.
func TestKilledBetweenSteps(t *testing.T) {
	defer writeReport(t)
	tr := newTrials(t, 3)
	tr.faults.decide = func(attempt) fault { return noFault }
	steps := slices.Concat(setUp, undo)
	if *everyFault {
		for _, s := range steps {
			once := false
			tr.faults.between = func(step string) bool {
				hit := !once && step == s.name
				once = once || hit
				return hit
			}
			equal, left, looks := tr.play(tr.endWhenReady)
			note(string(killedBetween), "before "+s.name, equal, left, looks)
		}
		return
	}
	done := map[string]bool{}
	tr.faults.between = func(step string) bool {
		hit := !done[step]
		done[step] = true
		return hit
	}
	tr.play(tr.endWhenReady)
	if len(done) != len(steps) {
		t.Errorf("killed before %d of %d steps", len(done), len(steps))
	}
}

// Each request of a session meets each fault, for the first time that it is made;
// by default all in one session for each fault, where the operator survives it.
func TestFaultAtEveryRequest(t *testing.T) {
	t.Cleanup(func() { writeReport(t) })
	for _, f := range requestFaults {
		if !*everyFault && (f == killedBefore || f == killedAfter) {
			continue // TestKilledAtEveryWrite has them
		}
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			tr := newTrials(t, 3)
			var made []attempt
			tr.faults.decide = func(a attempt) fault {
				tr.faults.mu.Lock()
				defer tr.faults.mu.Unlock()
				// Of what is only read no reply matters more than another: 500 is tried.
				if slices.Contains(made, a) || !a.may(f) || (!a.writes() && f != internalError) {
					return noFault
				}
				made = append(made, a)
				if *everyFault {
					return noFault
				}
				return f
			}
			equal, left, looks := tr.play(tr.endWhenReady)
			if len(made) < 8 {
				t.Errorf("only %q are made in a session", made)
			}
			if !*everyFault {
				note(string(f), "all requests of one session", equal, left, looks)
				return
			}
			for _, target := range made {
				met := false
				tr.faults.decide = func(a attempt) fault {
					tr.faults.mu.Lock()
					defer tr.faults.mu.Unlock()
					if met || a != target {
						return noFault
					}
					met = true
					return f
				}
				equal, left, looks := tr.play(tr.endWhenReady)
				if met {
					note(string(f), target.String(), equal, left, looks)
				}
			}
		})
	}
}

// Sessions at random: each has its own number of faults of all kinds, at any
// request and between any steps, is ended at any moment in one of the ways in
// which sessions end, or is removed by force. Each time the workload is in the end
// what it was. -seed and -session play one again.
func TestRandomFaults(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d; again with: go test ./operator/session -run TestRandomFaults -sessions=%d -seed=%d", seed, *chaosRounds, seed)
	ledger.Lock()
	ledger.Seed, ledger.Random.Fault, ledger.Random.Phase = seed, "at random", "any"
	ledger.Unlock()
	t.Cleanup(func() { writeReport(t) })
	const houses = 3
	for house := range houses {
		t.Run(fmt.Sprintf("house %d", house), func(t *testing.T) {
			t.Parallel()
			tr := newTrials(t, int32(house*2)) // zero is a number too
			for i := house; i < *chaosRounds; i += houses {
				if *chaosOnly >= 0 && i != *chaosOnly {
					continue
				}
				equal, left, looks := tr.random(seed, i)
				ledger.Lock()
				ledger.Random.add(equal, left, looks)
				ledger.Unlock()
				if t.Failed() {
					t.Fatalf("session %d: again with -seed=%d -sessions=%d -session=%d", i, seed, *chaosRounds, i)
				}
			}
		})
	}
}

// random plays the i-th session of a seed.
func (tr *trials) random(seed uint64, i int) (equal bool, left, looks int) {
	tr.t.Helper()
	random := rand.New(rand.NewPCG(seed, uint64(i)))
	rate, most := random.Float64()/3, 1+random.IntN(12)
	endAt, ending := random.IntN(30), random.IntN(4)
	count := map[string]int{}
	met := 0
	// One draw for each request and its number, so that it does not matter in
	// which order those come that are made at the same time.
	draw := func(what string) float64 {
		tr.faults.mu.Lock()
		defer tr.faults.mu.Unlock()
		count[what]++
		h := fnv.New64a()
		fmt.Fprint(h, what, count[what])
		if met >= most {
			return 1
		}
		return rand.New(rand.NewPCG(seed^h.Sum64(), uint64(i))).Float64()
	}
	hit := func() {
		tr.faults.mu.Lock()
		defer tr.faults.mu.Unlock()
		met++
	}
	tr.faults.decide = func(a attempt) fault {
		d := draw(a.String())
		if d >= rate {
			return noFault
		}
		hit()
		return requestFaults[int(d/rate*float64(len(requestFaults)))]
	}
	tr.faults.between = func(step string) bool {
		if draw("step "+step) >= rate/8 {
			return false
		}
		hit()
		// Whoever comes next has another clock.
		tr.clock = tr.clock.Add([]time.Duration{0, time.Hour, -time.Hour}[met%3])
		return true
	}
	return tr.play(func(name string, look int) {
		s := tr.world.session(name)
		if look < endAt || s == nil {
			return
		}
		switch {
		case look > endAt+60, ending == 0:
			if s.DeletionTimestamp.IsZero() {
				tr.must(client.IgnoreNotFound(tr.Delete(tr.ctx, s)))
			}
		case ending == 1: // its machine is gone
			tr.tick(tr.lives, 20*time.Second)
		case ending == 2 && look == endAt: // somebody deletes its stand-in
			tr.must(tr.DeleteAllOf(tr.ctx, &corev1.Pod{}, client.InNamespace(tr.namespace), client.MatchingLabels{v1alpha1.SessionLabel: name}))
		case ending == 3: // somebody forces it off
			s.Finalizers, tr.forced = nil, true
			if err := tr.Update(tr.ctx, s); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				tr.t.Fatal(err)
			}
			tr.must(client.IgnoreNotFound(tr.Delete(tr.ctx, s)))
		}
	})
}

func eachOf(list client.ObjectList, do func(client.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		do(o.(client.Object))
		return nil
	})
}
