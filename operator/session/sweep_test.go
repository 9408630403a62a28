package session

import (
	"net/http"
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

// The number is back, and of the request that gives its ownership back the reply
// is lost: what is left to do is found although the workload bears nothing of ours
// any more.
func TestSweepGoesOnWithoutTheReply(t *testing.T) {
	tr := newTrials(t, 3)
	tr.world.claim("worker", tr.before.UID, 3)
	tr.zero("worker")
	patches := 0
	tr.faults.decide = func(a attempt) fault {
		if a.method == http.MethodPatch && a.what == "deployments" {
			patches++
			if patches == 2 {
				return replyLost
			}
		}
		return noFault
	}
	operator := tr.live()
	sweep := func() error {
		return (&Sweeper{Reconciler: operator, Kind: hold.Deployment{}}).sweepOneFor(tr.world, tr.deployment("worker"))
	}
	if err := sweep(); err == nil {
		t.Fatal("no reply was lost")
	}
	tr.must(sweep())
	tr.until("the pods are back", func() bool { tr.world.play(); return tr.running("worker") == 3 })
	tr.must(sweep())
	tr.checkSame(tr.before, tr.deployment("worker"))
	if left := tr.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}
