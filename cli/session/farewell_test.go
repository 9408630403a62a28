package session

import (
	"testing"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// TestEndedBy: a run is told who has ended its session, and where.
func TestEndedBy(t *testing.T) {
	for want, by := range map[string]v1alpha1.Owner{
		"you have ended the session worker-1 (on desktop) from another terminal": {Username: "ada", Hostname: "desktop"},
		"you have ended the session worker-1 from another terminal":              {}, // an earlier understudy leaves no name
		"jane has ended the session worker-1 (on desktop)":                       {Username: "jane", Hostname: "desktop"},
		"jane has ended the session worker-1":                                    {Username: "jane"},
	} {
		if got := Ended("worker-1", "ada", by).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
