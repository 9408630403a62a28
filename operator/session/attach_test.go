package session

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

func (f *frozenWorld) askAttach(name string) {
	f.t.Helper()
	f.must(f.Create(f.ctx, &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: v1alpha1.SessionSpec{
			Target:    v1alpha1.Target{Resource: "pods", Name: "worker", UID: f.target().UID, Container: "worker"},
			Takeover:  v1alpha1.TakeoverNone,
			Owner:     v1alpha1.Owner{Username: name + "@example.com"},
			ClientKey: clientKey,
		},
	}))
}

// A session that attaches has an agent on the node, which is told to freeze
// nothing; the pod is not written to; and there is one at a time.
func TestSessionAttaches(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	before := f.target()
	f.askAttach("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "the session is ready", func() bool { return f.isReady("alice") })
	session := f.session("alice")
	f.checkGranted(session)
	secret := &corev1.Secret{}
	f.must(f.Get(f.ctx, client.ObjectKey{Namespace: f.agents, Name: nodeagent.SecretName(session.UID, 1)}, secret))
	var told settings.Config
	f.must(json.Unmarshal(secret.Data[settings.ConfigFile], &told))
	if !told.Freeze.Attach || told.Freeze.Release || len(told.Freeze.Probes) != 0 {
		t.Errorf("the agent is told %+v", told.Freeze)
	}
	for _, condition := range session.Status.Conditions {
		switch condition.Type {
		case v1alpha1.ConditionFrozen, v1alpha1.ConditionHeld, v1alpha1.ConditionStandInReady:
			t.Errorf("it has the condition %s", condition.Type)
		case v1alpha1.ConditionRestored:
		default:
			if condition.Status != metav1.ConditionTrue || strings.Contains(condition.Message, "thaw") {
				t.Errorf("%s is %s: %s", condition.Type, condition.Status, condition.Message)
			}
		}
	}

	f.askAttach("bob")
	f.driveNode(operator, "bob", "the other is refused", func() bool {
		return f.conditionOf("bob", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonHeldByAnother
	})
	if message := f.conditionOf("bob", v1alpha1.ConditionReady).Message; !strings.Contains(message, "alice@example.com") {
		t.Errorf("the other is told %q", message)
	}

	f.must(f.Delete(f.ctx, session))
	f.driveNode(operator, "alice", "the session is gone", func() bool { return f.session("alice") == nil })
	f.checkThawed()
	if after := f.target(); after.ResourceVersion != before.ResourceVersion {
		t.Error("the pod was written to")
	}
}

// Where the chart does not allow it, the session says how it is allowed.
func TestAttachingIsNotAllowed(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	f.askAttach("alice")
	operator := f.freezer(f.WithWatch)
	operator.AgentsNamespace = ""
	f.driveNode(operator, "alice", "the session ends", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonAttachUnsupported
	})
	if message := f.conditionOf("alice", v1alpha1.ConditionReady).Message; !strings.Contains(message, "freeze.enabled") {
		t.Errorf("it says %q", message)
	}
}
