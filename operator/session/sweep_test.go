package session

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// Copies of claims whose session is gone are taken off ReplicaSets; those of a
// living session are its own restore's work.
func TestCopySweep(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 0)
	session := w.ask("alice", "worker")
	set := &appsv1.ReplicaSet{}
	copied := func(uid types.UID) bool {
		w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "worker-1"}, set))
		claim := hold.NewClaim(w.deployment("worker").UID, uid, "alice", "alice", 3, w.clock)
		metav1.SetMetaDataAnnotation(&set.ObjectMeta, v1alpha1.ClaimAnnotation, claim.String())
		metav1.SetMetaDataAnnotation(&set.ObjectMeta, "team", "shop")
		w.must(w.Update(w.ctx, set))
		w.must((&Sweep{Reconciler: w.operator(w.WithWatch)}).Sweep(w.ctx))
		w.must(w.Get(w.ctx, client.ObjectKeyFromObject(set), set))
		if set.Annotations["team"] != "shop" {
			t.Error("it took the team's annotation too")
		}
		_, there := set.Annotations[v1alpha1.ClaimAnnotation]
		return there
	}
	if copied("gone") {
		t.Error("the copy of a session that is gone is still there")
	}
	if !copied(session.UID) {
		t.Error("the copy of a living session was taken off")
	}
}
