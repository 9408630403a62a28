package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	managerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// With its watches the operator is woken by everything that it waits for:
// nobody calls Reconcile here, and the clock is the real one.
func TestWokenByWatches(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	w.deploy("worker", 3)
	w.start()
	w.ask("alice", "worker")
	w.eventually("the session is ready", func() bool { return w.isReady("alice") })

	began := time.Now()
	w.scale("worker", 5, "kubectl")
	w.eventually("the stranger's number is brought to zero", func() bool { return *w.deployment("worker").Spec.Replicas == 0 })
	t.Logf("a stranger's number stood for %s", time.Since(began))

	w.must(w.Delete(w.ctx, w.stand("alice")))
	w.eventually("another stand-in is ready", func() bool {
		a := w.session("alice").Status.Agent
		return a.Incarnation == 2 && w.isReady("alice")
	})

	w.must(w.Delete(w.ctx, w.session("alice")))
	w.eventually("the session is gone", func() bool { return w.session("alice") == nil })
	w.eventually("the pods are back", func() bool { return w.running("worker") == 5 })

	// A finalizer that was forced off leaves a claim; the sweep finds it.
	w.ask("bob", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 3600 })
	w.eventually("the session is ready", func() bool { return w.isReady("bob") })
	session := w.session("bob")
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	w.must(w.Delete(w.ctx, session))
	if err := w.Patch(w.ctx, session, patch); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	w.eventually("the pods are back", func() bool { return w.session("bob") == nil && w.running("worker") == 5 })
	w.eventually("nothing is left", func() bool { return len(w.leftovers("worker")) == 0 })
}

func (w *world) stand(session string) client.Object {
	pods := w.podsOf(w.session(session))
	if len(pods) != 1 {
		w.t.Fatalf("%d stand-ins, want 1", len(pods))
	}
	return &pods[0]
}

// start runs the operator's controllers until the test ends. Told of a namespace for
// agents it freezes, and looks at this world alone, not at what other tests have left.
func (w *world) start(agents ...string) {
	w.t.Helper()
	scheme := runtime.NewScheme()
	w.must(errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)))
	options := manager.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: managerconfig.Controller{SkipNameValidation: ptr.To(true)}}
	for _, namespace := range agents {
		options.Cache.DefaultNamespaces = map[string]cache.Config{w.namespace: {}, namespace: {}}
	}
	mgr, err := manager.New(w.config, options)
	w.must(err)
	r := &Reconciler{
		Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Events: mgr.GetEventRecorder("understudy-operator"),
		Kinds: hold.AllKinds(w.custom...), PolicyName: testPolicy, PolicyLag: -time.Hour, Agent: Agent{Image: "registry.example/agent:1"},
		Hearing: &Hearing{Live: mgr.GetAPIReader()}, Pods: NewPodWatches(w.WithWatch),
	}
	for _, namespace := range agents {
		r.AgentsNamespace = namespace
	}
	w.must(r.AddTo(mgr))
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			w.t.Errorf("the manager: %v", err)
		}
	})
}

// eventually plays the cluster until it holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); w.play() {
		if time.Now().After(deadline) {
			w.dump()
			w.t.Fatalf("never happened: %s", what)
		}
	}
}
