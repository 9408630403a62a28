package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

func seen(takeover v1alpha1.Takeover, conditions ...metav1.Condition) State {
	s := &v1alpha1.Session{}
	s.Name = "worker-abcde"
	s.Spec.Takeover = takeover
	s.Status.Conditions = conditions
	s.Status.Record = &v1alpha1.Record{Replicas: 3}
	return State{Session: s}
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func TestEnded(t *testing.T) {
	deleted := seen(v1alpha1.TakeoverCopy)
	deleted.Session.DeletionTimestamp = &metav1.Time{}
	gone := seen(v1alpha1.TakeoverCopy)
	gone.Gone = true
	expired := condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLeaseExpired, "the owner's machine was not heard of for 1m0s.")
	expiredAndDeleted := seen(v1alpha1.TakeoverCopy, expired)
	expiredAndDeleted.Session.DeletionTimestamp = &metav1.Time{}
	for name, tc := range map[string]struct {
		state State
		want  string
	}{
		"new":     {seen(v1alpha1.TakeoverCopy), ""},
		"waiting": {seen(v1alpha1.TakeoverCopy, condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonPending, "")), ""},
		"waiting after the hold": {seen(v1alpha1.TakeoverScaleDown,
			condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonOldPodsRunning, "Waiting.")), ""},
		"a final reason that is not final": {seen(v1alpha1.TakeoverCopy,
			condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonLeaseExpired, "")), ""},
		"held": {seen(v1alpha1.TakeoverScaleDown, condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonHeldByAnother,
			"deployments worker is held by ada since 2026-01-02T03:04:05Z (session worker-x)")),
			"deployments worker is held by ada since 2026-01-02T03:04:05Z (session worker-x)"},
		"expired":                {seen(v1alpha1.TakeoverCopy, expired), "the owner's machine was not heard of for 1m0s"},
		"the reason comes first": {expiredAndDeleted, "the owner's machine was not heard of for 1m0s"},
		"deleted":                {deleted, "the session worker-abcde was ended from elsewhere"},
		"gone":                   {gone, "the session worker-abcde was ended from elsewhere"},
	} {
		got := ""
		if err := tc.state.Ended(); err != nil {
			got = err.Error()
			if failure.Hint(err) == "" {
				t.Errorf("%s: no hint", name)
			}
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestSteps(t *testing.T) {
	var names []string
	for _, s := range seen(v1alpha1.TakeoverScaleDown).Steps("deployment/worker") {
		names = append(names, s.Condition+": "+s.Doing+"; "+s.Done)
	}
	want := []string{
		"Claimed: claiming deployment/worker; claimed deployment/worker (3 replicas to put back)",
		"StandInReady: starting the stand-in; the stand-in runs",
		"Held: scaling deployment/worker to 0; deployment/worker is held at 0",
		"Ready: getting ready; no pod of deployment/worker runs any more",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	attached := seen(v1alpha1.TakeoverNone)
	attached.Session.Spec.Target = v1alpha1.Target{Resource: "pods", Name: "worker-x"}
	names = nil
	for _, s := range attached.Steps("pod/worker-x") {
		names = append(names, s.Condition+": "+s.Doing+"; "+s.Done)
	}
	want = []string{
		"Claimed: claiming pod/worker-x; claimed pod/worker-x",
		"Attached: attaching to pod/worker-x; attached to pod/worker-x",
		"Ready: getting ready; pod/worker-x goes on running",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	one := seen(v1alpha1.TakeoverScaleDown)
	one.Session.Status.Record.Replicas = 1
	if got := one.Steps("deployment/worker")[0].Done; got != "claimed deployment/worker (1 replica to put back)" {
		t.Errorf("of one replica: %s", got)
	}
	if n := len(seen(v1alpha1.TakeoverCopy).Steps("deployment/worker")); n != 2 {
		t.Errorf("a copy has %d steps", n)
	}
}

// The agent of a session that attaches is reached when it is attached, not when
// there is a stand-in, of which there is none.
func TestReachable(t *testing.T) {
	for _, tc := range []struct {
		takeover   v1alpha1.Takeover
		target     string
		conditions []string
		want       bool
	}{
		{v1alpha1.TakeoverCopy, "worker", []string{v1alpha1.ConditionStandInReady}, true},
		{v1alpha1.TakeoverFreeze, "worker", []string{v1alpha1.ConditionFrozen}, true},
		{v1alpha1.TakeoverNone, "worker", []string{v1alpha1.ConditionAttached}, true},
		{v1alpha1.TakeoverNone, "worker", []string{v1alpha1.ConditionStandInReady, v1alpha1.ConditionFrozen}, false},
		{v1alpha1.TakeoverNone, "", []string{v1alpha1.ConditionStandInReady}, true},
		{v1alpha1.TakeoverNone, "", nil, false},
	} {
		s := seen(tc.takeover)
		s.Session.Spec.Target.Name = tc.target
		s.Session.Status.Agent = &v1alpha1.Agent{}
		for _, c := range tc.conditions {
			s.Session.Status.Conditions = append(s.Session.Status.Conditions, condition(c, metav1.ConditionTrue, v1alpha1.ReasonDone, ""))
		}
		if got := s.Reachable(); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestWaits(t *testing.T) {
	s := seen(v1alpha1.TakeoverCopy,
		condition(v1alpha1.ConditionStandInReady, metav1.ConditionUnknown, v1alpha1.ReasonPending, "Not come to yet."),
		condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonStandInPending, `Pulling image "worker:2".`))
	if got, want := s.Waits(v1alpha1.ConditionStandInReady), `pulling image "worker:2"`; got != want {
		t.Errorf("waits for %q, want %q", got, want)
	}
	s.Unreachable = errors.New("no route to host")
	if got := s.Waits(v1alpha1.ConditionStandInReady); !strings.Contains(got, "no route to host") {
		t.Errorf("waits for %q", got)
	}
}

func TestName(t *testing.T) {
	for target, prefix := range map[string]string{
		"worker":                                "worker-",
		"a.b.c":                                 "a-b-c-",
		strings.Repeat("x", 253):                strings.Repeat("x", 46) + "-",
		strings.Repeat("x", 45) + "-yyyyyyyyyy": strings.Repeat("x", 45) + "-",
	} {
		got := Name(target)
		if !strings.HasPrefix(got, prefix) || len(got) != len(prefix)+5 || len(got) > 52 {
			t.Errorf("%s: %s", target, got)
		}
		if got == Name(target) {
			t.Errorf("%s: the same name twice", target)
		}
	}
}

// TestCutoff: the local process is asked and killed before the lease is over,
// and has time between.
func TestCutoff(t *testing.T) {
	for lease, want := range map[time.Duration][2]time.Duration{
		5 * time.Second:  {5*time.Second - 250*time.Millisecond - 5*time.Second/6, 4750 * time.Millisecond},
		60 * time.Second: {47 * time.Second, 57 * time.Second},
		time.Hour:        {time.Hour - 13*time.Second, time.Hour - 3*time.Second},
	} {
		ask, kill := Cutoff(lease)
		if got := [2]time.Duration{ask, kill}; got != want {
			t.Errorf("%s: %v, want %v", lease, got, want)
		}
	}
}

// TestLeaseBounds: what the configuration lets through, the resource takes.
func TestLeaseBounds(t *testing.T) {
	got := [3]time.Duration{config.DefaultLease, config.MinLease, config.MaxLease}
	want := [3]time.Duration{v1alpha1.DefaultLeaseDuration, v1alpha1.MinLeaseDuration, v1alpha1.MaxLeaseDuration}
	if got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
