package standing

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
)

// StatefulSetRollout looks at the revisions, not at how many pods there are:
// that a set is being scaled is no reason to wait, and one whose first pod
// crashes is scaled for ever.
func StatefulSetRollout(s *appsv1.StatefulSet) string {
	if waiting := Unseen(s.Status.ObservedGeneration, s.Generation); waiting != "" {
		return waiting
	}
	if !betweenRevisions(s) {
		return ""
	}
	return fmt.Sprintf("%d of %d pods are of the new template", s.Status.UpdatedReplicas, ptr.Deref(s.Spec.Replicas, 1))
}

func betweenRevisions(s *appsv1.StatefulSet) bool {
	return s.Status.CurrentRevision != s.Status.UpdateRevision && s.Status.UpdatedReplicas < s.Status.Replicas
}

// StatefulSetRefusal protects what would be lost at zero replicas.
//
// With whenScaled: Delete the controller makes each claim depend on its pod as
// soon as that is to go, and the garbage collector deletes it with the data.
// And at zero replicas the controller takes a partitioned update for complete,
// and pods that wait for an OnDelete are made from the new template: what the
// team keeps apart on purpose would come back as one.
func StatefulSetRefusal(s *appsv1.StatefulSet) string {
	policy := s.Spec.PersistentVolumeClaimRetentionPolicy
	if policy != nil && policy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType && len(s.Spec.VolumeClaimTemplates) > 0 {
		return "at zero replicas it would lose the data of its volume claims (spec.persistentVolumeClaimRetentionPolicy.whenScaled is Delete): set that to Retain for the time of the session"
	}
	if !betweenRevisions(s) {
		return ""
	}
	switch strategy := s.Spec.UpdateStrategy; {
	case strategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		return "some of its pods wait for their deletion to be updated (updateStrategy OnDelete), and would all come back updated: delete them first"
	case strategy.RollingUpdate != nil && strategy.RollingUpdate.Partition != nil && *strategy.RollingUpdate.Partition > 0:
		return "it is in a partitioned update (updateStrategy.rollingUpdate.partition), which zero replicas would complete: finish the update or undo it first"
	}
	return ""
}
