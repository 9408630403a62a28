package session

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/nodeagent"
)

// Annotations of a lock: enough to thaw without the Session.
const (
	lockNodeAnnotation = "understudy.dev/node"
	lockPodAnnotation  = "understudy.dev/pod"
	// lockNodeUIDAnnotation is what the node calls the pod.
	lockNodeUIDAnnotation = "understudy.dev/node-uid"
)

// lock makes the Lease in the agents' namespace that is named for the pod. Of
// two sessions that try at once the API server lets one make it. It is the
// second copy of the memory as well: from it a pod is thawed whose Session was
// removed by force.
func lock(ctx context.Context, v *visit) (bool, error) {
	if !v.is(v1alpha1.ConditionClaimed) {
		if err := v.solo(ctx); err != nil {
			return false, err
		}
	}
	frozen := v.status().Frozen
	wanted := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v.AgentsNamespace, Name: nodeagent.LockName(frozen.UID), Labels: nodeagent.Labels(v.session),
			Annotations: map[string]string{
				lockNodeAnnotation:    frozen.NodeName,
				lockPodAnnotation:     v.session.Namespace + "/" + v.session.Spec.Target.Name,
				lockNodeUIDAnnotation: string(nodeagent.NodeUID(v.pod)),
			},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To(v.session.Spec.Owner.Username)},
	}
	held := &coordinationv1.Lease{}
	err := v.Live.Get(ctx, client.ObjectKeyFromObject(wanted), held)
	if apierrors.IsNotFound(err) {
		held = wanted
		if err = v.Writer.Create(ctx, wanted, client.FieldOwner(hold.FieldManager)); apierrors.IsAlreadyExists(err) {
			v.again(0)
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("locking the pod: %w", err)
	}
	key, uid, _ := nodeagent.SessionOf(held)
	if uid == v.session.UID {
		v.set(v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone, "The pod is this session's alone.")
		return true, nil
	}
	other, err := v.livingIn(ctx, key.Namespace, key.Name, uid)
	if err != nil {
		return false, err
	}
	if other != nil {
		// Nothing was done, and nothing is to be thawed: the agent that is there
		// is the other's.
		v.status().Frozen = nil
		return false, heldByAnother("pod "+v.session.Spec.Target.Name, other.Spec.Owner.Username, beganAt(other), other.Name)
	}
	v.waiting(v1alpha1.ReasonThawing, fmt.Sprintf("Waiting until the pod is seen thawed by session %s, which is gone.", key.Name))
	v.again(askAgain)
	return false, nil
}
