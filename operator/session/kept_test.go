package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// A Session is kept as it was for the next visit alone, and not for ever; and of many
// as many as fit.
func TestKept(t *testing.T) {
	session := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "alice", ResourceVersion: "7", Annotations: map[string]string{"long": strings.Repeat("x", keptMost/4)}}}
	session.Status.Record = &v1alpha1.Record{Replicas: 3}
	key := client.ObjectKeyFromObject(session)
	k, now := &kept{}, time.Now()
	if read, _ := k.take(key, now); read != nil {
		t.Error("there is one that nobody kept")
	}
	then := session.DeepCopy()
	k.keep(session, now)
	session.ResourceVersion = "8"
	read, at := k.take(key, now.Add(keptFor-1))
	if diff := cmp.Diff(then, read); diff != "" || at != now {
		t.Errorf("kept at %s, not %s: %s", at, now, diff)
	}
	if read, _ := k.take(key, now); read != nil {
		t.Error("it is kept for more than one visit")
	}
	k.keep(session, now)
	if read, _ := k.take(key, now.Add(keptFor)); read != nil {
		t.Error("it is kept for ever")
	}
	for i := range 6 {
		session.Name = fmt.Sprint(i)
		k.keep(session, now)
		k.keep(session, now) // instead of the one before
	}
	if len(k.sessions) != 3 {
		t.Errorf("%d are kept, of which three fit", len(k.sessions))
	}
	for i := range 6 {
		session.Name = fmt.Sprint(i)
		k.forget(client.ObjectKeyFromObject(session))
	}
	if len(k.sessions) != 0 || k.bytes != 0 {
		t.Errorf("%d are kept, of %d bytes", len(k.sessions), k.bytes)
	}
}

// shortly names requests: the method, and what is asked.
func shortly(made []string) []string {
	var short []string
	for _, request := range made {
		method, path, _ := strings.Cut(request, " ")
		parts := strings.Split(path, "/")
		what := parts[len(parts)-2]
		if parts[len(parts)-1] == "status" {
			what = parts[len(parts)-3] + "/status"
		}
		short = append(short, method+" "+what)
	}
	return short
}

// Whose owner has gone silent has the number back with no more requests than it takes
// to be sure: where a thousand end at once, all others are time at zero.
func TestRequestsOfAnEnd(t *testing.T) {
	const duration = 30 * time.Second
	w := newWorld(t)
	w.deploy("worker", 2)
	before := w.deployment("worker")
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = int32(duration / time.Second) })
	operator, requests := w.counted()
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	visit := func() []string { return shortly(requests.of(func() { w.must(w.reconcile(operator, "alice")) })) }
	for operator.Hearing.Uptime() < duration {
		w.renew("alice")
		visit()
		w.tick(operator, 5*time.Second)
	}
	w.renew("alice")
	visit()
	w.tick(operator, duration/2+time.Second)
	visit()
	if w.session("alice").Status.Silence == nil {
		t.Fatal("half of its lease is not noted")
	}

	w.tick(operator, duration/2+time.Second)
	if diff := cmp.Diff([]string{"GET leases", "PUT sessions/status", "DELETE pods"}, visit()); diff != "" {
		t.Errorf("requests until the stand-in is asked to end: %s", diff)
	}
	w.until("the stand-in is gone", func() bool { w.play(); return w.pod("alice-standin-1") == nil })
	made := visit()
	if number := slices.Index(made, "PATCH deployments"); number >= 0 {
		made = made[:number+1] // the next one gives its ownership back
	}
	if diff := cmp.Diff([]string{"GET pods", "GET nodes", "GET deployments", "PUT sessions/status", "PATCH deployments"}, made); diff != "" {
		t.Errorf("requests until the number is back: %s", diff)
	}
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonLeaseExpired)
	w.checkSame(before, w.deployment("worker"))
}

// What is kept of a session that was taken for silent is not what it goes on with once
// a renewal is found: what was asked of it since is seen.
func TestKeptOfRenewedIsReadAnew(t *testing.T) {
	const duration = 30 * time.Second
	w := newWorld(t)
	w.deploy("worker", 2)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = int32(duration / time.Second) })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.tick(operator, duration/2+time.Second)
	w.must(w.reconcile(operator, "alice"))
	w.tick(operator, duration/2+time.Second)
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.renew("alice")
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}

// A Session that was kept at half of the lease is none to go on with once the session
// was looked at otherwise: here it was ended, its number is back, and the reply was lost.
func TestKeptIsForTheNextVisit(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 60 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.tick(operator, 31*time.Second)
	w.must(w.reconcile(operator, "alice")) // half of the lease: kept
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.must(w.Delete(w.ctx, w.pod("alice-standin-1"), client.GracePeriodSeconds(0)))
	lose := true
	operator.Writer = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
		Patch: func(ctx context.Context, next client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			err := next.Patch(ctx, object, patch, options...)
			if d, ok := object.(*appsv1.Deployment); ok && err == nil {
				if *d.Spec.Replicas == 0 {
					t.Error("a workload that was back is brought to zero")
				}
				if lose {
					lose = false
					return errLost
				}
			}
			return err
		},
	})
	if err := w.reconcile(operator, "alice"); !errors.Is(err, errLost) {
		t.Fatalf("the reply is not lost: %v", err)
	}
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Fatalf("%d replicas, want 2", n)
	}
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}
