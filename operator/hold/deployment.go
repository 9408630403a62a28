package hold

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NudgeAnnotation on a ReplicaSet makes the deployment controller look at it
// again. Settle takes it away before it is done.
const NudgeAnnotation = "understudy.dev/nudge"

// Deployment holds apps/v1 Deployments.
type Deployment struct{}

var _ Workload = Deployment{}

func (Deployment) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: "deployments"}
}

func (Deployment) Kind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("Deployment")
}

func (Deployment) New() client.Object { return &appsv1.Deployment{} }

func (Deployment) Inspect(object client.Object) State {
	d := object.(*appsv1.Deployment)
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		// The API server validates selectors; one that it should not have
		// taken selects nothing.
		selector = labels.Nothing()
	}
	return State{
		Replicas:   wished(d.Spec.Replicas),
		Running:    d.Status.Replicas,
		Template:   &d.Spec.Template,
		Selector:   selector,
		Rollout:    deploymentRollout(d),
		Controller: metav1.GetControllerOf(d),
	}
}

// wished is the number that an unset spec.replicas stands for: 1, by the API's
// own default for Deployments and ReplicaSets.
func wished(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// deploymentRollout looks at which pods there are, not at whether they are
// available: a worker that crashes all the time can be taken over too.
func deploymentRollout(d *appsv1.Deployment) string {
	replicas := wished(d.Spec.Replicas)
	switch {
	case d.Status.ObservedGeneration < d.Generation:
		return fmt.Sprintf("generation %d was not yet seen by the deployment controller", d.Generation)
	case d.Status.UpdatedReplicas < replicas:
		return fmt.Sprintf("%d of %d pods are of the new template", d.Status.UpdatedReplicas, replicas)
	case d.Status.Replicas > d.Status.UpdatedReplicas:
		return fmt.Sprintf("%d pods of the old template are left", d.Status.Replicas-d.Status.UpdatedReplicas)
	}
	return ""
}

func (Deployment) SetReplicas(object client.Object, replicas int32) {
	object.(*appsv1.Deployment).Spec.Replicas = &replicas
}

func (w Deployment) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	// ReplicaSets first: a pod whose ReplicaSet is already gone is an orphan
	// that the next list no longer shows as controlled, and the other way round
	// a pod of a ReplicaSet that is made in between would be missed.
	selector := w.Inspect(object).Selector
	sets, err := replicaSets(ctx, reader, object, selector)
	if err != nil {
		return nil, err
	}
	owned := map[types.UID]bool{}
	for i := range sets {
		owned[sets[i].UID] = true
	}
	var pods corev1.PodList
	if err := reader.List(ctx, &pods, client.InNamespace(object.GetNamespace()), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the pods of deployment %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	var ours []corev1.Pod
	for _, pod := range pods.Items {
		if c := metav1.GetControllerOf(&pod); c != nil && owned[c.UID] {
			ours = append(ours, pod)
		}
	}
	return ours, nil
}

func (Deployment) Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	if controller.Kind != "ReplicaSet" {
		return false, nil
	}
	var set appsv1.ReplicaSet
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: controller.Name}, &set)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading replica set %s/%s: %w", namespace, controller.Name, err)
	}
	owner := metav1.GetControllerOf(&set)
	return set.UID != controller.UID || owner == nil || owner.UID == object, nil
}

// replicaSets are all ReplicaSets that the deployment controls, old ones too.
func replicaSets(ctx context.Context, reader client.Reader, deployment client.Object, selector labels.Selector) ([]appsv1.ReplicaSet, error) {
	var sets appsv1.ReplicaSetList
	if err := reader.List(ctx, &sets, client.InNamespace(deployment.GetNamespace()), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the replica sets of deployment %s/%s: %w", deployment.GetNamespace(), deployment.GetName(), err)
	}
	var ours []appsv1.ReplicaSet
	for _, set := range sets.Items {
		if metav1.IsControlledBy(&set, deployment) {
			ours = append(ours, set)
		}
	}
	return ours, nil
}

// Settle waits for the deployment controller to have seen the number, and for
// the ReplicaSets to have it. A ReplicaSet may have been kept at zero by the
// hold gate, whose view of Sessions lags by some milliseconds: a change of its
// annotations makes the controller try again.
func (w Deployment) Settle(ctx context.Context, api API, object client.Object) (string, error) {
	d := object.(*appsv1.Deployment)
	sets, err := replicaSets(ctx, api, d, w.Inspect(d).Selector)
	if err != nil {
		return "", err
	}
	waiting := ""
	if d.Status.ObservedGeneration < d.Generation {
		waiting = "the deployment controller to see the restored number"
	}
	scaled := int32(0)
	for i := range sets {
		scaled += wished(sets[i].Spec.Replicas)
	}
	// A paused deployment is scaled too; one that was made paused has nothing to
	// be scaled.
	short := waiting == "" && (!d.Spec.Paused || len(sets) > 0) && scaled < wished(d.Spec.Replicas)
	if short {
		waiting = fmt.Sprintf("the replica sets to be scaled: %d of %d", scaled, wished(d.Spec.Replicas))
	}
	for i := range sets {
		set := &sets[i]
		_, claimed := set.Annotations[v1alpha1.ClaimAnnotation]
		_, nudged := set.Annotations[NudgeAnnotation]
		before := set.DeepCopy()
		delete(set.Annotations, v1alpha1.ClaimAnnotation)
		switch {
		case short && !claimed && wished(set.Spec.Replicas) == 0 && isNewest(d, set):
			// Each look adds one more change, so that each makes an event.
			metav1.SetMetaDataAnnotation(&set.ObjectMeta, NudgeAnnotation, set.ResourceVersion)
		case !short && nudged:
			delete(set.Annotations, NudgeAnnotation)
		case !claimed:
			continue
		}
		if err := api.Writer.Patch(ctx, set, client.MergeFrom(before), client.FieldOwner(FieldManager)); client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("cleaning replica set %s/%s: %w", set.Namespace, set.Name, err)
		}
	}
	return waiting, nil
}

// isNewest compares the revision that the deployment controller writes on both.
func isNewest(d *appsv1.Deployment, set *appsv1.ReplicaSet) bool {
	const revision = "deployment.kubernetes.io/revision"
	return set.Annotations[revision] == d.Annotations[revision]
}
