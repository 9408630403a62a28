package session

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestTell(t *testing.T) {
	deployment := v1alpha1.Target{Group: "apps", Resource: "deployments", Name: "worker"}
	claimed := metav1.Condition{Type: v1alpha1.ConditionClaimed, Status: metav1.ConditionTrue}
	for name, c := range map[string]struct {
		spec   v1alpha1.SessionSpec
		status v1alpha1.SessionStatus
		holds  bool
		atEnd  string
	}{
		"not begun":  {spec: v1alpha1.SessionSpec{Target: deployment, Takeover: v1alpha1.TakeoverScaleDown}, atEnd: "nothing of deployment/worker has been touched yet"},
		"one":        {v1alpha1.SessionSpec{Target: deployment, Takeover: v1alpha1.TakeoverScaleDown}, v1alpha1.SessionStatus{Record: &v1alpha1.Record{Replicas: 1}, Conditions: []metav1.Condition{claimed}}, true, "deployment/worker goes back to 1 replica"},
		"none":       {v1alpha1.SessionSpec{Target: deployment, Takeover: v1alpha1.TakeoverScaleDown}, v1alpha1.SessionStatus{Record: &v1alpha1.Record{}, Conditions: []metav1.Condition{claimed}}, true, "deployment/worker goes back to 0 replicas"},
		"a copy":     {v1alpha1.SessionSpec{Target: deployment, Takeover: v1alpha1.TakeoverCopy}, v1alpha1.SessionStatus{Conditions: []metav1.Condition{claimed}}, false, "the stand-in goes, and nothing else was touched"},
		"targetless": {spec: v1alpha1.SessionSpec{Takeover: v1alpha1.TakeoverNone}, atEnd: "the empty pod goes, and nothing else was touched"},
		"attached": {
			v1alpha1.SessionSpec{Target: v1alpha1.Target{Resource: "pods", Name: "x"}, Takeover: v1alpha1.TakeoverNone},
			v1alpha1.SessionStatus{Frozen: &v1alpha1.FrozenPod{}, Conditions: []metav1.Condition{claimed}}, false, "the agent goes, and pod/x has all of its ports again",
		},
		"frozen": {
			v1alpha1.SessionSpec{Target: v1alpha1.Target{Resource: "pods", Name: "x"}, Takeover: v1alpha1.TakeoverFreeze},
			v1alpha1.SessionStatus{Frozen: &v1alpha1.FrozenPod{}, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionTrue}}}, true, "pod/x is thawed",
		},
		"suspended before": {
			v1alpha1.SessionSpec{Target: v1alpha1.Target{Group: "batch", Resource: "cronjobs", Name: "x"}, Takeover: v1alpha1.TakeoverScaleDown},
			v1alpha1.SessionStatus{Record: &v1alpha1.Record{}, Conditions: []metav1.Condition{claimed}}, true, "cronjob/x stays suspended, as it was",
		},
		"over": {
			v1alpha1.SessionSpec{Target: deployment, Takeover: v1alpha1.TakeoverScaleDown},
			v1alpha1.SessionStatus{Record: &v1alpha1.Record{Replicas: 1}, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionRestored, Status: metav1.ConditionTrue}}}, false, "nothing is left to be undone",
		},
	} {
		a := Tell(&v1alpha1.Session{Spec: c.spec, Status: c.status})
		if a.Holds != c.holds || a.AtEnd != c.atEnd || a.Mode == "" {
			t.Errorf("%s: holds %t, at its end %q, mode %q", name, a.Holds, a.AtEnd, a.Mode)
		}
	}
}
