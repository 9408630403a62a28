package session

import (
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
)

func TestRights(t *testing.T) {
	rights := Rights{rules: []authorizationv1.ResourceRule{
		{Verbs: []string{"get", "list"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"takeover"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"}, ResourceNames: []string{"worker"}},
		{Verbs: []string{"*"}, APIGroups: []string{"batch"}, Resources: []string{"jobs"}},
	}}
	for _, c := range []struct {
		verb, group, resource, name string
		want                        bool
	}{
		{"takeover", "apps", "deployments", "worker", true},
		{"takeover", "apps", "deployments", "orders", false},
		{"takeover", "apps", "deployments", "", false},
		{"takeover", "batch", "jobs", "any", true},
		{"takeover", "batch", "cronjobs", "any", false},
		{"list", "", "pods", "", true},
	} {
		if got, sure := rights.Allow(c.verb, c.group, c.resource, c.name); got != c.want || !sure {
			t.Errorf("%s %s/%s %q: %t, sure %t", c.verb, c.group, c.resource, c.name, got, sure)
		}
	}
	rights.incomplete = true
	if allowed, sure := rights.Allow("takeover", "apps", "deployments", "orders"); allowed || sure {
		t.Errorf("of what the cluster cannot tell: %t, sure %t", allowed, sure)
	}
	if allowed, sure := rights.Allow("takeover", "apps", "deployments", "worker"); !allowed || !sure {
		t.Errorf("of what it told: %t, sure %t", allowed, sure)
	}
}
