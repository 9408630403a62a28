package session

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold"
)

// An application that heals by itself does not while something of its is held: not
// one number of its has to be brought to zero. Afterwards it is what it was, to
// the managed fields, and heals again.
func TestApplicationPaused(t *testing.T) {
	for name, c := range map[string]struct {
		automated  string
		serverSide bool
	}{
		"says nothing":             {`{selfHeal: true}`, true},
		"says so":                  {`{selfHeal: true, enabled: true}`, true},
		"applies on client's side": {`{selfHeal: true}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArgo(newWorld(t), allSwitches)
			a.serverSide = c.serverSide
			a.deploy("worker", 3)
			a.track("worker")
			a.application(c.automated, "worker")
			before := a.read()
			a.ask("alice", "worker")
			operator := a.may(a.WithWatch)
			a.drive(operator, "alice", "ready", func() bool { return a.isReady("alice") })
			generation := a.deployment("worker").Generation
			for range 5 {
				a.sync("worker", 4)
				a.play()
				a.must(a.reconcile(operator, "alice"))
			}
			if d := a.deployment("worker"); d.Generation != generation || *d.Spec.Replicas != 0 {
				t.Errorf("Argo CD wrote to it: %d replicas", *d.Spec.Replicas)
			}
			if c := a.conditionOf("alice", v1alpha1.ConditionContended); c.Status == metav1.ConditionTrue {
				t.Errorf("contended: %s", c.Message)
			}
			if enabled, automated := a.enabled(); automated || enabled != "false" {
				t.Errorf("it is held and the application says %q", enabled)
			}
			// Its owner's next apply meets no conflict.
			again := a.yaml(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: shop, annotations: {team: shop}}, spec: {project: default, syncPolicy: {automated: {selfHeal: true}}}}`)
			again.SetNamespace(a.namespace)
			if c.automated == `{selfHeal: true}` {
				a.must(a.apply(again, "owner"))
			}
			a.end(operator, "alice")
			if diff := cmp.Diff(same(before), same(a.read())); diff != "" {
				t.Errorf("the application differs (-before +after):\n%s", diff)
			}
			a.sync("worker", 4)
			if n := *a.deployment("worker").Spec.Replicas; n != 4 {
				t.Errorf("Argo CD does not heal any more: %d replicas", n)
			}
		})
	}
}

// Two sessions hold two workloads of one application: paused by the first, given
// back by the last, whichever that is.
func TestApplicationOfSeveralSessions(t *testing.T) {
	for _, first := range []string{"alice", "bob"} {
		t.Run(first+" ends first", func(t *testing.T) {
			t.Parallel()
			a := newArgo(newWorld(t), allSwitches)
			for _, name := range []string{"worker", "billing"} {
				a.deploy(name, 2)
				a.track(name)
			}
			a.application(`{selfHeal: true, enabled: true}`, "worker", "billing")
			before := a.read()
			operator := a.may(a.WithWatch)
			for session, target := range map[string]string{"alice": "worker", "bob": "billing"} {
				a.ask(session, target)
				a.drive(operator, session, "ready", func() bool { return a.isReady(session) })
			}
			last := map[string]string{"alice": "bob", "bob": "alice"}[first]
			a.end(operator, first)
			a.must(a.reconcile(operator, last))
			if _, automated := a.enabled(); automated {
				t.Errorf("it syncs by itself, and %s still holds something of it", last)
			}
			a.end(operator, last)
			if diff := cmp.Diff(same(before), same(a.read())); diff != "" {
				t.Errorf("the application differs (-before +after):\n%s", diff)
			}
		})
	}
}

// Somebody switches an application on while one session holds something of it, and
// another session switches it off once more: that it was on is known to both of them.
func TestApplicationSwitchedOnBetween(t *testing.T) {
	for _, automated := range []string{`{selfHeal: true}`, `{selfHeal: true, enabled: true}`} {
		for _, first := range []string{"alice", "bob"} {
			t.Run(automated+", "+first+" ends first", func(t *testing.T) {
				t.Parallel()
				a := newArgo(newWorld(t), allSwitches)
				for _, name := range []string{"worker", "billing"} {
					a.deploy(name, 2)
					a.track(name)
				}
				a.application(automated, "worker", "billing")
				operator := a.may(a.WithWatch)
				a.ask("alice", "worker")
				a.drive(operator, "alice", "ready", func() bool { return a.isReady("alice") })
				application := a.read()
				a.must(v1alpha1.SetSyncs(application.Object, "true"))
				a.must(a.Update(a.ctx, application, client.FieldOwner("argocd-server")))
				a.must(a.reconcile(operator, "alice"))
				a.ask("bob", "billing")
				a.drive(operator, "bob", "ready", func() bool { return a.isReady("bob") })
				a.must(a.reconcile(operator, "alice"))
				last := map[string]string{"alice": "bob", "bob": "alice"}[first]
				a.end(operator, first)
				a.must(a.reconcile(operator, last))
				if _, automated := a.enabled(); automated {
					t.Errorf("it syncs by itself, and %s still holds something of it", last)
				}
				a.end(operator, last)
				if enabled, automated := a.enabled(); enabled != "true" || !automated {
					t.Errorf("it says %q, and was switched on: %v", enabled, a.read().GetAnnotations())
				}
			})
		}
	}
}

// An application that is made anew from a copy of itself while it is paused says in the
// copy that it was on: it is switched on again.
func TestApplicationMadeFromACopy(t *testing.T) {
	a := newArgo(newWorld(t), allSwitches)
	operator := a.heldUnder(`{selfHeal: true}`)
	application := a.read()
	copied := application.DeepCopy()
	a.must(a.Delete(a.ctx, application))
	copied.SetUID("")
	copied.SetResourceVersion("")
	copied.SetManagedFields(nil)
	a.must(a.Create(a.ctx, copied, client.FieldOwner("kubectl-replace")))
	a.must(a.reconcile(operator, "alice"))
	if _, automated := a.enabled(); automated {
		t.Error("it syncs by itself while its workload is held")
	}
	a.end(operator, "alice")
	if enabled, automated := a.enabled(); enabled != "" || !automated || v1alpha1.Paused(a.read().GetAnnotations()) {
		t.Errorf("it says %q, and %v", enabled, a.read().GetAnnotations())
	}
}

// Where the definition of Sessions is gone there is none that wants it off.
func TestApplicationWithoutSessions(t *testing.T) {
	a := newArgo(worldAt(t, apitest.Bare(t)), allSwitches)
	a.deploy("worker", 2)
	a.application(`{selfHeal: true}`, "worker")
	session := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: "alice", UID: "s-1"}}
	application := a.read()
	pause := v1alpha1.NewPause(application.GetUID(), session, "", time.Now())
	application.SetAnnotations(map[string]string{pause.Key(): pause.String()})
	a.must(v1alpha1.SetSyncs(application.Object, "false"))
	a.must(a.Update(a.ctx, application, client.FieldOwner(hold.FieldManager)))
	a.must((&Sweep{Reconciler: a.may(a.WithWatch)}).sweepApplications(a.ctx, a.namespace))
	if _, automated := a.enabled(); !automated {
		t.Errorf("it is left off: %v", a.read().GetAnnotations())
	}
}

// What is not ours to switch is left as it is, and what stands against it is said.
func TestApplicationNotPaused(t *testing.T) {
	for name, c := range map[string]struct {
		automated string
		change    func(*argo)
		may       bool
	}{
		"off already":              {`{selfHeal: true, enabled: false}`, nil, true},
		"the rights are not given": {`{selfHeal: true}`, nil, false},
		"it deploys something else": {`{selfHeal: true}`, func(a *argo) {
			object := a.read()
			object.Object["status"] = map[string]any{"resources": []any{map[string]any{"group": "apps", "kind": "Deployment", "namespace": "other", "name": "worker"}}}
			a.must(a.Update(a.ctx, object))
		}, true},
		"an ApplicationSet makes it": {`{selfHeal: true}`, func(a *argo) {
			object := a.read()
			object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "argoproj.io/v1alpha1", Kind: "ApplicationSet", Name: "shops", UID: "s-1", Controller: ptr.To(true)}})
			a.must(a.Update(a.ctx, object))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArgo(newWorld(t), allSwitches)
			a.gate, a.serverSide = true, true
			a.deploy("worker", 3)
			a.track("worker")
			a.application(c.automated, "worker")
			if c.change != nil {
				c.change(a)
			}
			before := a.read()
			a.ask("alice", "worker")
			operator := a.may(a.WithWatch)
			if !c.may {
				operator.ArgoCD = nil
			}
			a.drive(operator, "alice", "ready", func() bool { return a.isReady("alice") })
			_, automated := a.enabled()
			a.sync("worker", 4)
			a.drive(operator, "alice", "it is at zero again", func() bool { return *a.deployment("worker").Spec.Replicas == 0 })
			contended := a.conditionOf("alice", v1alpha1.ConditionContended)
			if automated && (contended.Status != metav1.ConditionTrue || !strings.Contains(contended.Message, "Argo CD (application shop)") || !strings.Contains(contended.Message, "gitops.argoCD.namespaces")) {
				t.Errorf("Contended is %s: %s", contended.Status, contended.Message)
			}
			a.end(operator, "alice")
			if diff := cmp.Diff(same(before), same(a.read())); diff != "" {
				t.Errorf("the application was touched (-before +after):\n%s", diff)
			}
		})
	}
}

// Before 3.1 Argo CD has no such switch: its API server drops it. Nothing of ours
// stays on the application.
func TestApplicationWithoutTheSwitch(t *testing.T) {
	s := &stage{world: worldAt(t, apitest.Controllers(t))}
	a := newArgo(s.world, "prune: {type: boolean}, selfHeal: {type: boolean}")
	a.must(a.team("worker", 1))
	s.awaits("its pods run", func() bool {
		d := a.deployment("worker")
		return len(s.pods("worker")) == 1 && d.Status.ObservedGeneration == d.Generation
	})
	a.track("worker")
	a.application(`{selfHeal: true}`, "worker")
	before := a.read()
	a.ask("alice", "worker")
	operator := a.may(a.WithWatch)
	s.awaits("the session is ready", func() bool {
		a.must(a.reconcile(operator, "alice"))
		return a.isReady("alice")
	})
	if diff := cmp.Diff(same(before), same(a.read())); diff != "" {
		t.Errorf("the application was touched (-before +after):\n%s", diff)
	}
	a.must(a.Delete(a.ctx, a.session("alice")))
	s.awaits("the session is gone", func() bool {
		a.must(a.reconcile(operator, "alice"))
		return a.session("alice") == nil
	})
}

// However a session ends, and whatever happened to the application meanwhile, it
// syncs again afterwards, unless somebody wants it not to.
func TestApplicationComesBack(t *testing.T) {
	edit := func(a *argo, manager string, change func(*unstructured.Unstructured)) {
		object := a.read()
		change(object)
		a.must(a.Update(a.ctx, object, client.FieldOwner(manager)))
	}
	strip := func(object *unstructured.Unstructured) {
		annotations := object.GetAnnotations()
		for _, key := range hold.PauseKeys(object) {
			delete(annotations, key)
		}
		object.SetAnnotations(annotations)
	}
	for name, c := range map[string]struct {
		meanwhile func(*argo)
		// force removes the session without its operator.
		force bool
		// keep lets the operator look in between.
		keep bool
		want string
		off  bool
	}{
		"the session is forced off":               {meanwhile: func(*argo) {}, force: true},
		"the pause is stripped":                   {meanwhile: func(a *argo) { edit(a, "kubectl-edit", strip) }},
		"the pause is stripped, and put on again": {keep: true, force: true, meanwhile: func(a *argo) { edit(a, "kubectl-edit", strip) }},
		"the pause is damaged": {meanwhile: func(a *argo) {
			edit(a, "kubectl-edit", func(object *unstructured.Unstructured) {
				annotations := object.GetAnnotations()
				for _, key := range hold.PauseKeys(object) {
					annotations[key] = "{"
				}
				object.SetAnnotations(annotations)
			})
		}},
		"somebody switches it on": {want: "true", meanwhile: func(a *argo) {
			edit(a, "kubectl-edit", func(object *unstructured.Unstructured) { a.must(v1alpha1.SetSyncs(object.Object, "true")) })
		}},
		"somebody switches it on, then off": {want: "false", off: true, meanwhile: func(a *argo) {
			for _, enabled := range []string{"true", "false"} {
				edit(a, "kubectl-edit", func(object *unstructured.Unstructured) { a.must(v1alpha1.SetSyncs(object.Object, enabled)) })
			}
		}},
		// It may have been read of the object.
		"somebody applies that it is off": {meanwhile: func(a *argo) {
			patch := []byte(`{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"shop"},"spec":{"syncPolicy":{"automated":{"enabled":false}}}}`)
			a.must(a.Patch(a.ctx, a.read(), client.RawPatch(types.ApplyPatchType, patch), client.FieldOwner("somebody"), client.ForceOwnership))
		}},
		"nobody can read it": {want: "false", off: true, force: true, meanwhile: func(a *argo) {
			edit(a, "kubectl-edit", func(object *unstructured.Unstructured) {
				annotations := object.GetAnnotations()
				for _, key := range hold.PauseKeys(object) {
					annotations[key] = "{"
				}
				object.SetAnnotations(annotations)
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArgo(newWorld(t), allSwitches)
			operator := a.heldUnder(`{selfHeal: true}`)
			c.meanwhile(a)
			if c.keep {
				a.must(a.reconcile(operator, "alice"))
				if len(hold.PauseKeys(a.read())) != 1 {
					t.Error("the pause is not put on again")
				}
			}
			if c.force {
				s := a.session("alice")
				s.Finalizers = nil
				a.must(a.Update(a.ctx, s))
				a.must(client.IgnoreNotFound(a.Delete(a.ctx, s)))
				a.must((&Sweep{Reconciler: operator}).sweepApplications(a.ctx, a.namespace))
			} else {
				a.end(operator, "alice")
			}
			enabled, automated := a.enabled()
			if enabled != c.want || automated == c.off {
				t.Errorf("it says %q, and syncs by itself: %v", enabled, automated)
			}
			if left := hold.PauseKeys(a.read()); len(left) > 0 && name != "nobody can read it" {
				t.Errorf("left over: %q", left)
			}
			for _, entry := range a.read().GetManagedFields() {
				if entry.Manager == hold.FieldManager && name != "nobody can read it" {
					t.Errorf("the operator owns %s", entry.FieldsV1.Raw)
				}
			}
		})
	}
}

// Each request that is about an application meets each fault, and the operator
// dies before and after it: the application comes back all the same, and there is
// no moment in which it is off and nobody remembers what it was.
func TestApplicationFaults(t *testing.T) {
	for _, f := range requestFaults {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			tr := newTrials(t, 3)
			a := newArgo(tr.world, allSwitches)
			a.track("worker")
			tr.before = a.deployment("worker")
			a.application(`{selfHeal: true, enabled: true}`, "worker")
			before := a.read()
			tr.argoCD = []string{a.namespace}
			// Each in a session of its own: the first of its kind, the second, and so on.
			for nth := 1; ; nth++ {
				count := 0
				tr.faults.decide = func(at attempt) fault {
					if at.what != "applications" || !at.may(f) || (at.method == http.MethodGet && f != internalError) {
						return noFault
					}
					if count++; count == nth {
						return f
					}
					return noFault
				}
				tr.play(func(name string, look int) {
					a.remembered(name)
					tr.endWhenReady(name, look)
				})
				a.sweepAll(tr)
				if diff := cmp.Diff(same(before), same(a.read())); diff != "" {
					t.Errorf("the %d. request: the application differs (-before +after):\n%s", nth, diff)
				}
				if count < nth {
					if nth < 4 {
						t.Errorf("only %d requests were made", count)
					}
					return
				}
			}
		})
	}
}

// remembered: what is off is remembered in two places.
func (a *argo) remembered(session string) {
	a.t.Helper()
	if _, automated := a.enabled(); automated {
		return
	}
	s := a.session(session)
	if s == nil || s.Status.Record == nil || len(s.Status.Record.Applications) == 0 || len(hold.PauseKeys(a.read())) == 0 {
		a.t.Errorf("it does not sync by itself, and is not remembered in both places")
	}
}

func (a *argo) sweepAll(tr *trials) {
	a.t.Helper()
	tr.faults.decide = func(attempt) fault { return noFault }
	a.must((&Sweep{Reconciler: tr.live()}).sweepApplications(a.ctx, a.namespace))
}

// The names that a workload gives for its application, and those it does not.
func TestApplicationNames(t *testing.T) {
	for name, c := range map[string]struct {
		labels, annotations map[string]string
		namespaces          []string
		want                []string
	}{
		"tracked":            {nil, tracked("x", "worker"), []string{"argocd", "apps"}, []string{"argocd/shop"}},
		"tracked elsewhere":  {nil, map[string]string{"argocd.argoproj.io/tracking-id": "apps_shop:apps/Deployment:x/worker"}, []string{"argocd", "apps"}, []string{"apps/shop"}},
		"somewhere else":     {nil, map[string]string{"argocd.argoproj.io/tracking-id": "apps_shop:apps/Deployment:x/worker"}, []string{"argocd"}, nil},
		"by its label":       {map[string]string{"app.kubernetes.io/instance": "shop"}, nil, []string{"argocd"}, []string{"argocd/shop"}},
		"by both":            {map[string]string{"app.kubernetes.io/instance": "release"}, tracked("x", "worker"), []string{"argocd"}, []string{"argocd/shop", "argocd/release"}},
		"nobody's":           {map[string]string{"app": "worker"}, nil, []string{"argocd"}, nil},
		"nothing is allowed": {nil, tracked("x", "worker"), nil, nil},
	} {
		d := deployment("x", "worker")
		d.Labels, d.Annotations = c.labels, c.annotations
		var got []string
		for _, key := range hold.ApplicationsOf(d, c.namespaces) {
			got = append(got, fmt.Sprint(key))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
