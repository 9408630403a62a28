package session

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// Who comes second to a pod that somebody has frozen without an operator is told
// who that is; what that agent has left when it ended is nobody's lock.
func TestPodFrozenWithoutOperator(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	agent := nodeagent.Solo(nodeagent.SoloOptions{
		Namespace: f.namespace, Session: "1234", Owner: "ada@laptop", Image: "registry.example/agent:1", Target: f.target(),
	})
	f.must(f.Create(f.ctx, agent))
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it has ended", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
	})
	if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonHeldByAnother || !strings.Contains(ready.Message, "held by ada@laptop since ") {
		t.Errorf("it is told %s: %s", ready.Reason, ready.Message)
	}
	if left := f.leftOnNode(); len(left) > 0 || f.frozen {
		t.Errorf("frozen %v, and there is %q", f.frozen, left)
	}

	f.endAgent(agent, 0, "thawed")
	f.askFreeze("bob")
	f.driveNode(operator, "bob", "it is ready", func() bool { return f.isReady("bob") })
	f.must(f.Get(f.ctx, client.ObjectKeyFromObject(agent), &corev1.Pod{}))
	f.must(f.Delete(f.ctx, f.session("bob")))
	f.driveNode(operator, "bob", "it is gone", func() bool { return f.session("bob") == nil })
	f.checkThawed()
}
