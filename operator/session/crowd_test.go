package session

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// requests are those that an operator has made of the API server.
type requests struct {
	mu   sync.Mutex
	made []string
}

// roundTrips makes a function of what an http.RoundTripper does.
type roundTrips func(*http.Request) (*http.Response, error)

func (do roundTrips) RoundTrip(request *http.Request) (*http.Response, error) { return do(request) }

// counted is an operator whose every request is noted, as "GET /api/v1/…".
func (w *world) counted() (*Reconciler, *requests) {
	w.t.Helper()
	noted := &requests{}
	config := rest.CopyConfig(w.config)
	config.Wrap(func(transport http.RoundTripper) http.RoundTripper {
		return roundTrips(func(request *http.Request) (*http.Response, error) {
			noted.mu.Lock()
			noted.made = append(noted.made, request.Method+" "+request.URL.Path)
			noted.mu.Unlock()
			return transport.RoundTrip(request)
		})
	})
	c, err := client.NewWithWatch(config, client.Options{Scheme: w.Scheme(), Mapper: w.RESTMapper()})
	w.must(err)
	operator := w.operator(c)
	operator.Live, operator.Hearing.Live = c, c
	return operator, noted
}

// of answers the requests that are made while something is done.
func (r *requests) of(do func()) []string {
	r.mu.Lock()
	r.made = nil
	r.mu.Unlock()
	do()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made
}

// A session whose number is back makes no request while many others still wait for
// theirs, which come first; and is finished once they have them.
func TestLeftToDoWaitsForNumbers(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator, requests := w.counted()
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	other := func(i int) types.NamespacedName {
		return types.NamespacedName{Namespace: w.namespace, Name: fmt.Sprint(i)}
	}
	for i := range crowd {
		// However long this takes, they are not given up.
		operator.returns.owes(other(i), "", time.Now().Add(time.Hour))
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "the number is back, whoever else waits", func() bool { return *w.deployment("worker").Spec.Replicas == 2 })

	key := client.ObjectKey{Namespace: w.namespace, Name: "alice"}
	for range 3 {
		w.play()
		var result reconcile.Result
		made := requests.of(func() {
			var err error
			result, err = operator.Reconcile(w.ctx, reconcile.Request{NamespacedName: key})
			w.must(err)
		})
		if len(made) > 0 {
			t.Errorf("it is visited: %q", made)
		}
		if priority := ptr.Deref(result.Priority, 0); result.RequeueAfter <= 0 || priority != wakeForRest {
			t.Errorf("it is to be looked at after %s at priority %d", result.RequeueAfter, priority)
		}
	}
	if s := w.session("alice"); s == nil || len(s.Finalizers) == 0 {
		t.Fatalf("nothing was left to do: %+v", s)
	}
	for i := range crowd {
		operator.returns.paid(other(i), "", "", time.Now())
	}
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	w.checkSame(before, w.deployment("worker"))
	if found := w.leftovers("worker"); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
}
