package session

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

func TestMain(m *testing.M) { os.Exit(apitest.Main(m)) }

// wire is the network between this machine and the API server.
type wire struct {
	next http.RoundTripper
	// broken fails every request before it is sent.
	broken *atomic.Bool
	// stuck, when it is not nil, is waited for whatever becomes of the request,
	// as client-go waits for a credential plugin.
	stuck <-chan struct{}
	// loseAnswers is how many answers to POST get lost after the server has
	// done what it was asked for.
	loseAnswers *atomic.Int32
}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.stuck != nil && r.Method == http.MethodDelete {
		<-w.stuck
	}
	if w.broken.Load() {
		return nil, errors.New("no route to host")
	}
	answer, err := w.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && w.loseAnswers.Add(-1) >= 0 {
		answer.Body.Close()
		return nil, errors.New("connection reset by peer")
	}
	return answer, err
}

// world is a namespace of its own and a client whose network can fail.
type world struct {
	*Client
	t           *testing.T
	broken      atomic.Bool
	loseAnswers atomic.Int32
	stuck       <-chan struct{}
}

func newWorld(t *testing.T, change func(*rest.Config)) *world { return newStuckWorld(t, change, nil) }

// newStuckWorld is one in which every DELETE waits for a channel.
func newStuckWorld(t *testing.T, change func(*rest.Config), stuck <-chan struct{}) *world {
	t.Helper()
	config := apitest.Config(t)
	admin, err := NewClient(config, "")
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := admin.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, stuck: stuck}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return wire{next: next, broken: &w.broken, loseAnswers: &w.loseAnswers, stuck: w.stuck}
	})
	if change != nil {
		change(config)
	}
	if w.Client, err = NewClient(config, namespace.Name); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) spec() v1alpha1.SessionSpec {
	_, public, err := NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	return v1alpha1.SessionSpec{
		Target:    v1alpha1.Target{Group: "apps", Resource: "deployments", Name: "worker", UID: "1", Container: "app"},
		Takeover:  v1alpha1.TakeoverScaleDown,
		Owner:     v1alpha1.Owner{Username: "ada", Hostname: "laptop"},
		ClientKey: public, LeaseDurationSeconds: 5,
	}
}

// made is a session that is followed.
func (w *world) made() (*v1alpha1.Session, *Follower) {
	w.t.Helper()
	made, err := w.Create(w.t.Context(), w.spec())
	if err != nil {
		w.t.Fatal(err)
	}
	f := w.Follow(made)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	return made, f
}

// wait is Wait with a deadline that fails the test.
func (w *world) wait(f *Follower, what string, enough func(State) bool) State {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	state, err := f.Wait(ctx, enough)
	if err != nil {
		w.t.Fatalf("waiting for %s: %v; it is gone: %v, unreachable: %v, %+v", what, err, state.Gone, state.Unreachable, state.Session)
	}
	return state
}

// says plays the operator: it sets a condition, and the finalizer before.
func (w *world) says(name, kind string, status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	s, err := w.sessions.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Status.ObservedGeneration = s.Generation
	meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
	if _, err := w.sessions.UpdateStatus(w.t.Context(), s, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) finalizers(name string, finalizers ...string) {
	w.t.Helper()
	s, err := w.sessions.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Finalizers = finalizers
	if _, err := w.sessions.Update(w.t.Context(), s, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) count() int {
	w.t.Helper()
	list, err := w.sessions.List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(list.Items)
}

// TestLife: a session is made, followed through an outage, and ended.
func TestLife(t *testing.T) {
	w := newWorld(t, nil)
	made, f := w.made()
	if state, _ := f.State(); state.PickedUp() || state.Ended() != nil || state.Outcome() != "" {
		t.Errorf("of a new session more is known than there is: %+v", state)
	}
	w.finalizers(made.Name, v1alpha1.Finalizer)
	w.says(made.Name, v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone, "Claimed.")
	w.wait(f, "the claim", func(s State) bool { return s.PickedUp() && s.Is(v1alpha1.ConditionClaimed) })

	w.broken.Store(true)
	f.Refresh()
	w.wait(f, "the outage", func(s State) bool { return s.Unreachable != nil })
	w.broken.Store(false)
	w.says(made.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDone, "Ready.")
	w.wait(f, "Ready after the outage", func(s State) bool { return s.Unreachable == nil && s.Is(v1alpha1.ConditionReady) })

	ended := make(chan error, 1)
	waits := make(chan string, 100)
	go func() {
		state, err := w.End(context.Background(), f, func(what string) { waits <- what })
		if err == nil && (!state.Gone || state.Outcome() != "3 replicas are back") {
			err = errors.New("the outcome is " + state.Outcome())
		}
		ended <- err
	}()
	w.wait(f, "the deletion", func(s State) bool { return s.Session.DeletionTimestamp != nil })
	w.says(made.Name, v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonRestoring, "Putting 3 replicas back.")
	for deadline := time.After(30 * time.Second); ; {
		select {
		case what := <-waits:
			if what != "putting 3 replicas back" {
				continue
			}
		case <-deadline:
			t.Fatal("End does not say what it waits for")
		}
		break
	}
	select {
	case err := <-ended:
		t.Fatalf("End returned before the session was gone: %v", err)
	default:
	}
	w.says(made.Name, v1alpha1.ConditionRestored, metav1.ConditionTrue, v1alpha1.ReasonRestored, "3 replicas are back.")
	w.finalizers(made.Name)
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("End did not return")
	}
	if w.count() != 0 {
		t.Error("the session is still there")
	}
}

// TestCreateLosesAnswers: what was made is found again, and not made twice.
func TestCreateLosesAnswers(t *testing.T) {
	w := newWorld(t, nil)
	w.loseAnswers.Store(1)
	spec := w.spec()
	made, err := w.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if made.UID == "" || made.Spec.ClientKey != spec.ClientKey || w.loseAnswers.Load() > 0 {
		t.Errorf("made %+v, %d answers still to be lost", made, w.loseAnswers.Load())
	}
	if n := w.count(); n != 1 {
		t.Errorf("there are %d sessions", n)
	}
}

// TestCreateCancelled: whoever gives up in that moment still knows what there is.
func TestCreateCancelled(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	made, err := w.Create(ctx, w.spec())
	if err != nil || made.UID == "" || w.count() != 1 {
		t.Errorf("made %+v, %v", made, err)
	}
}

func TestCreateRefused(t *testing.T) {
	w := newWorld(t, nil)
	spec := w.spec()
	spec.LeaseDurationSeconds = 4
	if _, err := w.Create(t.Context(), spec); !apierrors.IsInvalid(err) || failure.Hint(err) == "" {
		t.Errorf("%v; hint: %s", err, failure.Hint(err))
	}
	w.broken.Store(true)
	if _, err := w.Create(t.Context(), w.spec()); err == nil || !strings.Contains(err.Error(), "no route to host") || !strings.Contains(failure.Hint(err), "after 5 s") {
		t.Errorf("without a network: %v", err)
	}
}

// TestDeletedByOthers: with another of the same name in its place.
func TestDeletedByOthers(t *testing.T) {
	w := newWorld(t, nil)
	made, f := w.made()
	w.wait(f, "nothing", func(State) bool { return true })
	w.broken.Store(true)
	f.Refresh()
	w.wait(f, "the outage", func(s State) bool { return s.Unreachable != nil })
	w.broken.Store(false)
	if err := w.sessions.Delete(t.Context(), made.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Name: made.Name}, Spec: w.spec()}
	if _, err := w.sessions.Create(t.Context(), again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	state := w.wait(f, "the end", func(s State) bool { return s.Gone })
	if state.Ended() == nil || state.Session.UID != made.UID {
		t.Errorf("ended: %v, UID %s", state.Ended(), state.Session.UID)
	}
	if _, err := w.End(t.Context(), f, func(string) {}); err != nil {
		t.Error(err)
	}
	if w.count() != 1 {
		t.Error("the other session was deleted")
	}
}

// TestFarewell: who ends a session from another terminal leaves word, and
// a Lease of another session of the name says nothing.
func TestFarewell(t *testing.T) {
	w := newWorld(t, nil)
	made, f := w.made()
	if err := w.SayFarewell(t.Context(), made, v1alpha1.Owner{Username: "ada", Hostname: "desktop"}); err == nil {
		t.Error("word was left where there is no Lease")
	}
	if by, said := w.Farewell(t.Context(), made); said {
		t.Errorf("without a Lease it was ended by %v", by)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: made.Name, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session", Name: made.Name, UID: made.UID,
	}}}}
	if _, err := w.Kube.CoordinationV1().Leases(w.Namespace).Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if by, said := w.Farewell(t.Context(), made); said {
		t.Errorf("before anybody ended it, it was by %v", by)
	}
	if err := w.SayFarewell(t.Context(), made, v1alpha1.Owner{Username: "ada", Hostname: "desktop"}); err != nil {
		t.Fatal(err)
	}
	other := made.DeepCopy()
	other.UID = "another"
	if by, said := w.Farewell(t.Context(), other); said {
		t.Errorf("a session of the same name was ended by %v", by)
	}
	w.finalizers(made.Name, v1alpha1.Finalizer)
	if err := w.sessions.Delete(t.Context(), made.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	state := w.wait(f, "the deletion", State.Deleted)
	if state.Final() || state.Ended() == nil {
		t.Errorf("it is final: %v, and ended: %v", state.Final(), state.Ended())
	}
	if by, said := w.Farewell(t.Context(), state.Session); !said || by.Hostname != "desktop" || by.Username != "ada" {
		t.Errorf("it was ended by %v, said: %v", by, said)
	}
	w.finalizers(made.Name)
}

// TestEndInterrupted: the second Ctrl-C leaves at once.
func TestEndInterrupted(t *testing.T) {
	w := newWorld(t, nil)
	made, f := w.made()
	w.finalizers(made.Name, v1alpha1.Finalizer)
	ctx, cancel := context.WithCancelCause(t.Context())
	hurry := errors.New("interrupted")
	ended := make(chan error, 1)
	go func() {
		_, err := w.End(ctx, f, func(string) {})
		ended <- err
	}()
	w.wait(f, "the deletion", func(s State) bool { return s.Session.DeletionTimestamp != nil })
	cancel(hurry)
	if err := <-ended; !errors.Is(err, hurry) {
		t.Errorf("End returned %v", err)
	}
	w.finalizers(made.Name)
}

// TestEndAtOnce: who leaves before anything was said has still said that it is
// over.
func TestEndAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	made, f := w.made()
	w.finalizers(made.Name, v1alpha1.Finalizer)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.End(ctx, f, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("End returned %v", err)
	}
	if s, err := w.sessions.Get(t.Context(), made.Name, metav1.GetOptions{}); err != nil || s.DeletionTimestamp == nil {
		t.Errorf("not deleted: %v, %v", s, err)
	}
	w.finalizers(made.Name)
}

// TestEndStuck: a credential plugin that waits for its user holds nobody up who
// leaves at once.
func TestEndStuck(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	w := newStuckWorld(t, nil, stuck)
	_, f := w.made()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := w.End(ctx, f, func(string) {})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("End returned %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("End did not return")
	}
}

// TestHolder: who lost a target to another session finds that one.
func TestHolder(t *testing.T) {
	w := newWorld(t, nil)
	first, _ := w.made()
	second, f := w.made()
	if other, err := w.Holder(t.Context(), second); err != nil || other != nil {
		t.Errorf("a holder before anybody holds: %v, %v", other, err)
	}
	w.says(first.Name, v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone, "Claimed.")
	w.says(second.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonHeldByAnother, "Held.")
	state := w.wait(f, "the loss", State.HeldByAnother)
	if other, err := w.Holder(t.Context(), state.Session); err != nil || other == nil || other.UID != first.UID {
		t.Errorf("the holder is %v, %v", other, err)
	}
}

// TestRenew: renewals begin when the operator has made the Lease, go on
// through failures, and silence is counted from the last that was sent.
func TestRenew(t *testing.T) {
	w := newWorld(t, nil)
	news := make(chan bool, 10)
	r := w.Renew("worker-x", "ada@laptop", 6*time.Second, RenewerOptions{Notify: func(ok bool, _ error) { news <- ok }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	leases := w.Kube.CoordinationV1().Leases(w.Namespace)
	made, err := leases.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "worker-x"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	version := made.ResourceVersion
	for range 3 {
		version = renewed(t, w, version)
	}
	if len(news) > 0 {
		t.Error("somebody was told of failures before there was a Lease")
	}
	if silence := r.Silence(); silence > 5*time.Second {
		t.Errorf("silence of %s", silence)
	}

	w.broken.Store(true)
	if ok := <-news; ok {
		t.Error("good news of a broken network")
	}
	if err := r.Exhausted(ctx, 1500*time.Millisecond); err != nil || r.Silence() < 1500*time.Millisecond {
		t.Errorf("%v with a silence of %s", err, r.Silence())
	}
	w.broken.Store(false)
	if ok := <-news; !ok {
		t.Error("failure was told twice")
	}
	renewed(t, w, version)
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	if err := r.Exhausted(short, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("exhausted: %v", err)
	}
}

// renewed waits for the Lease to change, and gives its new version.
func renewed(t *testing.T, w *world, version string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// From the version that is known on, so that nothing is missed.
	changes, err := w.Kube.CoordinationV1().Leases(w.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", "worker-x").String(), ResourceVersion: version,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Stop()
	event, open := <-changes.ResultChan()
	lease, ours := event.Object.(*coordinationv1.Lease)
	if !open || !ours {
		t.Fatalf("not renewed: %+v", event)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != "ada@laptop" || lease.Spec.RenewTime == nil {
		t.Errorf("renewed as %+v", lease.Spec)
	}
	return lease.ResourceVersion
}

// TestPreflight: who is asked, and what somebody without rights is told.
func TestPreflight(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.Installed(t.Context()); err != nil {
		t.Error(err)
	}
	ada := newWorld(t, func(c *rest.Config) { c.Impersonate.UserName = "ada" })
	if name, err := ada.Username(t.Context()); err != nil || name != "ada" {
		t.Errorf("who am I: %q, %v", name, err)
	}
	worker := &target.Target{Target: w.spec().Target, Kind: "deployment"}
	for what, err := range map[string]error{
		`you lack the right "create" on sessions.understudy.dev in namespace `: ada.MayCreate(t.Context()),
		`you lack the right "takeover" on deployment/worker in namespace `:     ada.MayTakeOver(t.Context(), worker, VerbTakeover),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), what+ada.Namespace) || !strings.Contains(failure.Hint(err), "understudy-user") {
			t.Errorf("%v; hint: %s", err, failure.Hint(err))
		}
	}
	// Where the role lacks it the chart may not have it.
	if err := ada.MayTakeOver(t.Context(), &target.Target{Target: v1alpha1.Target{Resource: "pods", Name: "lone"}, Kind: "pod"}, VerbFreeze); err == nil || !strings.Contains(failure.Hint(err), "--set freeze.enabled=true") {
		t.Errorf("%v; hint: %s", err, failure.Hint(err))
	}
	if err := errors.Join(w.MayCreate(t.Context()), w.MayTakeOver(t.Context(), worker, VerbTakeover)); err != nil {
		t.Error(err)
	}
}
