package command

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/nodeagent"
)

// What has no effect where an operator freezes is told when it is known that one
// does, and what was told before is not told again.
func TestIdle(t *testing.T) {
	c := &config.Config{Target: "pod/worker", Takeover: config.TakeoverFreeze, AgentNamespace: "agents"}
	c.Agent.Labels = map[string]string{"team": "a"}
	c.Agent.NodeSelector = map[string]string{"disk": "ssd"}
	c.Notices = c.AgentNotices(c.Takeover, false)
	if got := idle(c, c.Takeover, true); len(got) > 0 {
		t.Errorf("without an operator: %q", got)
	}
	want := []string{
		"agent.namespace has no effect: it is for the agent of a freeze that no operator makes",
		"agent.labels has no effect: the agent on the node is made by the operator, as its chart says",
	}
	if got := idle(c, c.Takeover, false); !slices.Equal(got, want) {
		t.Errorf("with an operator: %q", got)
	}
}

func TestWishes(t *testing.T) {
	a := config.Agent{
		Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}, PriorityClass: "high", ServiceAccount: "agents", PullPolicy: "Never",
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "registry"}}, NodeSelector: map[string]string{"e": "f"},
		AppArmor: config.SecurityProfile{Type: "Localhost", Localhost: "x"}, Seccomp: config.SecurityProfile{Type: "Unconfined"},
	}
	want := nodeagent.Wishes{
		Labels: a.Labels, Annotations: a.Annotations, PriorityClass: "high", ServiceAccount: "agents", PullPolicy: corev1.PullNever, PullSecrets: a.ImagePullSecrets,
		AppArmor: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: new("x")}, Seccomp: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
	}
	if diff := cmp.Diff(want, wishes(a)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
