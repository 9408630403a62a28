package hold

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// StatefulSet holds apps/v1 StatefulSets.
type StatefulSet struct {
	replicas
	direct
}

var _ Workload = StatefulSet{}

// Resource is the plural that targets name it by.
func (StatefulSet) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: "statefulsets"}
}

// Kind of its objects.
func (StatefulSet) Kind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("StatefulSet")
}

// New makes an empty one.
func (StatefulSet) New() client.Object { return &appsv1.StatefulSet{} }

// Inspect reads its state.
func (StatefulSet) Inspect(object client.Object) State {
	s := object.(*appsv1.StatefulSet)
	return State{
		Replicas:   wished(s.Spec.Replicas),
		Running:    s.Status.Replicas,
		Selector:   selectorOf(s.Spec.Selector),
		Rollout:    statefulSetRollout(s),
		Refusal:    statefulSetRefusal(s),
		Controller: metav1.GetControllerOf(s),
	}
}

// statefulSetRollout looks at the revisions, not at how many pods there are:
// that a set is being scaled is no reason to wait, and one whose first pod
// crashes is scaled for ever.
func statefulSetRollout(s *appsv1.StatefulSet) string {
	if waiting := unseen(s.Status.ObservedGeneration, s.Generation); waiting != "" {
		return waiting
	}
	if !betweenRevisions(s) {
		return ""
	}
	return fmt.Sprintf("%d of %d pods are of the new template", s.Status.UpdatedReplicas, wished(s.Spec.Replicas))
}

func betweenRevisions(s *appsv1.StatefulSet) bool {
	return s.Status.CurrentRevision != s.Status.UpdateRevision && s.Status.UpdatedReplicas < s.Status.Replicas
}

// statefulSetRefusal protects what would be lost at zero replicas.
//
// With whenScaled: Delete the controller makes each claim depend on its pod as
// soon as that is to go, and the garbage collector deletes it with the data.
// And at zero replicas the controller takes a partitioned update for complete,
// and pods that wait for an OnDelete are made from the new template: what the
// team keeps apart on purpose would come back as one.
func statefulSetRefusal(s *appsv1.StatefulSet) string {
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

// SetReplicas changes the number.
func (StatefulSet) SetReplicas(object client.Object, replicas int32) {
	object.(*appsv1.StatefulSet).Spec.Replicas = &replicas
}

// Template of its pods, without what makes each of them another one.
func (StatefulSet) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*appsv1.StatefulSet).Spec.Template, nil
}

// Pods are those that it controls itself.
func (w StatefulSet) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOf(ctx, reader, object.GetNamespace(), w.Inspect(object).Selector, object.GetUID())
}

// Settle waits for the first pod to be there: others may have to wait for it to
// be ready.
func (StatefulSet) Settle(_ context.Context, _ API, object client.Object) (string, error) {
	s := object.(*appsv1.StatefulSet)
	switch {
	case s.Status.ObservedGeneration < s.Generation:
		return "the stateful set controller to see the restored number", nil
	case wished(s.Spec.Replicas) > 0 && s.Status.Replicas == 0:
		return "the first pod to be made", nil
	}
	return "", nil
}
