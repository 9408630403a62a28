package standing

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func by(apiVersion, kind, uid string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: uid, UID: types.UID(uid), Controller: ptr.To(true)}}
}

// sets are the ReplicaSets and Jobs that there are, by what controls them.
func sets(controller metav1.OwnerReference) (*metav1.OwnerReference, error) {
	above := map[types.UID][]metav1.OwnerReference{
		"old": by("apps/v1", "Deployment", "worker"), "new": by("apps/v1", "Deployment", "worker"), "other": by("apps/v1", "Deployment", "mailer"),
		"run-1": by("batch/v1", "CronJob", "nightly"),
	}
	if controller.UID == "unreadable" {
		return nil, errors.New("unreadable")
	}
	if of, ok := above[controller.UID]; ok {
		return &of[0], nil
	}
	return nil, nil
}

func TestWorkloadOf(t *testing.T) {
	for name, c := range map[string]struct {
		owners []metav1.OwnerReference
		want   types.UID
	}{
		"nobody's":                            {nil, ""},
		"a deployment's":                      {by("apps/v1", "ReplicaSet", "old"), "worker"},
		"a replica set's":                     {by("apps/v1", "ReplicaSet", "lonely"), "lonely"},
		"a stateful set's":                    {by("apps/v1", "StatefulSet", "db"), "db"},
		"a cron job's":                        {by("batch/v1", "Job", "run-1"), "nightly"},
		"a job's":                             {by("batch/v1", "Job", "once"), "once"},
		"of a kind that is called like these": {by("example.com/v1", "Job", "run-1"), "run-1"},
	} {
		t.Run(name, func(t *testing.T) {
			of, err := WorkloadOf(&metav1.ObjectMeta{OwnerReferences: c.owners}, sets)
			if err != nil {
				t.Fatal(err)
			}
			if got := ptr.Deref(of, metav1.OwnerReference{}).UID; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if of, err := WorkloadOf(&metav1.ObjectMeta{OwnerReferences: by("apps/v1", "ReplicaSet", "unreadable")}, sets); err == nil {
		t.Errorf("what could not be read is %+v", of)
	}
}

func TestBeside(t *testing.T) {
	pod := func(name string, owners []metav1.OwnerReference, changes ...func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), OwnerReferences: owners}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
		for _, change := range changes {
			change(&p)
		}
		return p
	}
	phase := func(phase corev1.PodPhase) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Status.Phase = phase }
	}
	old, now := by("apps/v1", "ReplicaSet", "old"), metav1.Now()
	pods := []corev1.Pod{
		pod("frozen", old), pod("scaled", old), pod("not-placed", old, phase(corev1.PodPending)), pod("surge", by("apps/v1", "ReplicaSet", "new")),
		pod("done", old, phase(corev1.PodSucceeded)), pod("evicted", old, phase(corev1.PodFailed)),
		pod("leaving", old, func(p *corev1.Pod) { p.DeletionTimestamp = &now }),
		pod("stand-in", old, func(p *corev1.Pod) { p.Labels = map[string]string{v1alpha1.SessionLabel: "bob"} }),
		pod("mailer", by("apps/v1", "ReplicaSet", "other")), pod("bare", nil),
	}
	found, err := Beside(pods, "frozen", []types.UID{"worker"}, sets)
	var names []string
	for _, p := range found {
		names = append(names, p.Name)
	}
	if want := []string{"scaled", "not-placed", "surge"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %v, %v; want %v", names, err, want)
	}
	if found, err := Beside(pods, "frozen", []types.UID{"worker", "mailer"}, sets); err != nil || len(found) != 4 {
		t.Errorf("of two workloads there are %d, %v", len(found), err)
	}
	if _, err := Beside([]corev1.Pod{pod("x", by("apps/v1", "ReplicaSet", "unreadable"))}, "frozen", []types.UID{"worker"}, sets); err == nil {
		t.Error("what could not be read was taken for a stranger's")
	}
}

func TestNotAlone(t *testing.T) {
	const rest = ", and would take what is meant for you; " + HoldWhole
	for _, c := range []struct {
		others []string
		why    string
		want   string
	}{
		{[]string{"b"}, "", "pod b has come beside the frozen pod a of deployment worker" + rest},
		{[]string{"b", "c"}, Scaled(3, "kubectl-scale", ""), "pods b, c have come beside the frozen pod a of deployment worker (its number is 3 now, last written by kubectl-scale)" + rest},
		{[]string{"b", "c", "d", "e"}, Scaled(5, "", "x"), "4 pods, b among them, have come beside the frozen pod a of deployment worker (its number is 5 now)" + rest},
		{[]string{"b"}, Scaled(1, "kubectl", "0 of 1 pods are of the new template"), "pod b has come beside the frozen pod a of deployment worker (it is in a rollout: 0 of 1 pods are of the new template)" + rest},
		{[]string{"b"}, Scaled(1, "kubectl", ""), "pod b has come beside the frozen pod a of deployment worker" + rest},
	} {
		if got := NotAlone("a", c.others, "deployment worker", c.why); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
