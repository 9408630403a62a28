package manager

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/apitest"
)

// Events come to the API server as they were said, about objects and references.
// What happens again is the same event with a number. While there is something
// better to do none is written, and afterwards all are.
func TestRecorder(t *testing.T) {
	c := clientOf(t, apitest.Config(t))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "recorder-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	var busy atomic.Bool
	busy.Store(true)
	asked := make(chan struct{}, 1)
	r := newRecorder(c, func() bool {
		select {
		case asked <- struct{}{}:
		default:
		}
		return busy.Load()
	}, testr.New(t))
	go func() { _ = r.Start(t.Context()) }()

	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "worker", UID: "pod-1"}}
	deployment := &corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace.Name, Name: "worker", UID: "deployment-1"}
	r.Eventf(pod, nil, corev1.EventTypeNormal, "Started", "StandIn", "%s started", "it")
	r.Eventf(deployment, nil, corev1.EventTypeWarning, "HoldContended", "Hold", "somebody else writes it")
	list := func() map[string]eventsv1.Event {
		t.Helper()
		var events eventsv1.EventList
		if err := c.List(t.Context(), &events, client.InNamespace(namespace.Name)); err != nil {
			t.Fatal(err)
		}
		found := map[string]eventsv1.Event{}
		for _, e := range events.Items {
			found[fmt.Sprintf("%s/%s %s %s: %s", e.Regarding.Kind, e.Regarding.Name, e.Type, e.Reason, e.Note)] = e
		}
		return found
	}
	for range 3 * eventsAbreast {
		<-asked
	}
	if written := list(); len(written) > 0 {
		t.Errorf("written while there is something better to do: %v", written)
	}
	busy.Store(false)
	until := func(what string, holds func(map[string]eventsv1.Event) bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for !holds(list()) {
			if time.Now().After(deadline) {
				t.Fatalf("waited for a minute: %s: %v", what, list())
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	const started, contended = "Pod/worker Normal Started: it started", "Deployment/worker Warning HoldContended: somebody else writes it"
	until("both are written", func(events map[string]eventsv1.Event) bool { return len(events) == 2 })
	written := list()
	if e := written[started]; e.ReportingController != Name || e.Action != "StandIn" || e.Regarding.UID != "pod-1" || e.Series != nil {
		t.Errorf("written is %+v", e)
	}
	if e := written[contended]; e.Regarding.UID != "deployment-1" || e.Regarding.APIVersion != "apps/v1" {
		t.Errorf("written is %+v", e)
	}

	r.Eventf(deployment, nil, corev1.EventTypeWarning, "HoldContended", "Hold", "somebody else writes it")
	until("the repetition is counted", func(events map[string]eventsv1.Event) bool {
		e := events[contended]
		return e.Series != nil && e.Series.Count == 2 && e.Series.LastObservedTime.After(e.EventTime.Time)
	})
	if written := list(); len(written) != 2 {
		t.Errorf("there are %d events, want 2", len(written))
	}
}

// Of one that happens all the time the number is written now and then; after a while
// without it, it is another event. Nothing of the old ones is kept.
func TestRepeats(t *testing.T) {
	r := &newRecorder(nil, nil, testr.New(t)).repeat
	start := time.Unix(1000, 0)
	at := func(second int, note string) *eventsv1.Event {
		e := &eventsv1.Event{EventTime: metav1.NewMicroTime(start.Add(time.Duration(second) * time.Second)), Note: note}
		e.Name = fmt.Sprint("at-", second)
		return e
	}
	for _, c := range []struct {
		second int
		note   string
		first  string
		count  int32
		due    bool
	}{
		{0, "a", "at-0", 1, true},
		{1, "b", "at-1", 1, true},
		{2, "a", "at-0", 2, true},
		{3, "a", "at-0", 3, false},
		{4, "a", "at-0", 4, false},
		{8, "a", "at-0", 5, true},
		{8 + 359, "a", "at-0", 6, true},
		{8 + 359 + 360, "a", "at-727", 1, true},
	} {
		first, count, due := r.seen(at(c.second, c.note))
		if first != c.first || count != c.count || due != c.due {
			t.Errorf("at %d s: %s, %d, written: %t; want %s, %d, %t", c.second, first, count, due, c.first, c.count, c.due)
		}
	}
	if len(r.of) != 1 {
		t.Errorf("%d are kept, want 1", len(r.of))
	}
}

// The API server is ill for longer than an event is tried. When it happens again it
// is written, once, and counted from then on.
func TestRecorderAfterIllness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scheme, err := Scheme()
		if err != nil {
			t.Fatal(err)
		}
		var ill atomic.Bool
		ill.Store(true)
		c := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
				if ill.Load() {
					return apierrors.NewInternalError(errors.New("it is ill"))
				}
				return c.Create(ctx, o, options...)
			},
		}).Build()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := newRecorder(c, nil, logr.Discard())
		go func() { _ = r.Start(ctx) }()
		about := &corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: strings.Repeat("worker-", 36), UID: "1"}
		for range 3 {
			r.Eventf(about, nil, corev1.EventTypeWarning, "HoldReasserted", "Hold", "again")
			time.Sleep(eventTries*eventTryAfter + time.Second) // of the bubble: no time passes
			ill.Store(false)
		}
		var list eventsv1.EventList
		if err := c.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 1 || list.Items[0].Series == nil || list.Items[0].Series.Count != 2 {
			t.Errorf("written is %+v, want one event that happened twice", list.Items)
		}
		if n := len(list.Items[0].Name); n > 253 {
			t.Errorf("its name has %d characters", n)
		}
	})
}
