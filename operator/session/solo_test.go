package session

import (
	"context"
	"strings"
	"testing"
	"time"

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

// deserted is a namespace in which there is an agent that never began.
type deserted struct {
	client.Reader
	agent *corev1.Pod
}

func (d deserted) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	d.agent.DeepCopyInto(object.(*corev1.Pod))
	return nil
}

// An agent that its owner left before it began holds a pod no longer than it may
// begin.
func TestDesertedAgent(t *testing.T) {
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	agent := nodeagent.Solo(nodeagent.SoloOptions{
		Namespace: "shop", Session: "1234", Owner: "ada@laptop", Setup: 2 * time.Minute,
		Target: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "worker", UID: "5678"}},
	})
	agent.CreationTimestamp = metav1.NewTime(made)
	for after, free := range map[time.Duration]bool{2 * time.Minute: false, 4 * time.Minute: true} {
		session := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s", CreationTimestamp: metav1.NewTime(made.Add(after))}}
		session.Status.Frozen = &v1alpha1.FrozenPod{UID: "5678"}
		v := &visit{Reconciler: &Reconciler{Live: deserted{agent: agent}}, session: session}
		if err := v.solo(t.Context()); (err == nil) != free || free != (session.Status.Frozen != nil) {
			t.Errorf("%v after it was made a session is told %v", after, err)
		}
	}
}
