package session

import (
	"strings"
	"testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// What the chart does not list is named with the value that lists it.
func TestMayTouch(t *testing.T) {
	some := []string{"rollouts.argoproj.io", "caches.example.com"}
	for name, c := range map[string]struct {
		workloads       []string
		group, resource string
		hint            string
	}{
		"Kubernetes' own":       {[]string{""}, "apps", "deployments", ""},
		"a pod":                 {[]string{""}, "", "pods", ""},
		"listed":                {some, "example.com", "caches", ""},
		"an older chart":        {nil, "example.com", "caches", ""},
		"of another group":      {some, "example.org", "caches", "workloads.custom=[{group: example.org, resource: caches}]"},
		"nothing is listed":     {[]string{""}, "example.com", "caches", "workloads.custom=[{group: example.com, resource: caches}]"},
		"rollouts switched off": {[]string{""}, "argoproj.io", "rollouts", "workloads.argoRollouts=true"},
		"keda switched off":     {some, "keda.sh", "scaledjobs", "workloads.keda=true"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Operator{Workloads: c.workloads}.MayTouch(v1alpha1.Target{Group: c.group, Resource: c.resource, Name: "one"})
			if (err == nil) != (c.hint == "") || err != nil && !strings.Contains(failure.Hint(err), c.hint) {
				t.Errorf("got %v (%s), want a hint of %q", err, failure.Hint(err), c.hint)
			}
		})
	}
}
