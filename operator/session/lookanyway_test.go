package session

import (
	"testing"
	"time"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// A job that a person begins of a held CronJob is no change of the CronJob, and wakes
// nobody where the API server does not refuse it: it is looked for. Other kinds cost
// no more for that.
func TestLookAnyway(t *testing.T) {
	for _, c := range []struct {
		kind     hold.Workload
		takeover v1alpha1.Takeover
		want     time.Duration
	}{
		{hold.CronJob{}, v1alpha1.TakeoverScaleDown, 20 * time.Second},
		{hold.ScaledJob{}, v1alpha1.TakeoverScaleDown, 20 * time.Second},
		{hold.CronJob{}, v1alpha1.TakeoverCopy, 5 * time.Minute},
		{hold.Deployment{}, v1alpha1.TakeoverScaleDown, 5 * time.Minute},
		{nil, v1alpha1.TakeoverScaleDown, 5 * time.Minute},
	} {
		v := &visit{session: &v1alpha1.Session{Spec: v1alpha1.SessionSpec{Target: v1alpha1.Target{Name: "nightly"}, Takeover: c.takeover}}, kind: c.kind}
		if got := v.lookAnyway(); got != c.want {
			t.Errorf("%T, %s: looked at every %s, want %s", c.kind, c.takeover, got, c.want)
		}
	}
}
