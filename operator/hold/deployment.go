package hold

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/standing"
)

// Deployment holds apps/v1 Deployments.
type Deployment struct{ replicas }

var _ Workload = Deployment{}

// Resource is the plural that targets name it by.
func (Deployment) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: "deployments"}
}

// Kind of its objects.
func (Deployment) Kind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("Deployment")
}

// New makes an empty one.
func (Deployment) New() client.Object { return &appsv1.Deployment{} }

// Inspect reads its state.
func (Deployment) Inspect(object client.Object) State {
	d := object.(*appsv1.Deployment)
	return State{
		Replicas:   wished(d.Spec.Replicas),
		Running:    d.Status.Replicas,
		Selector:   selectorOf(d.Spec.Selector),
		Rollout:    standing.DeploymentRollout(d),
		Controller: metav1.GetControllerOf(d),
	}
}

// SetReplicas changes the number.
func (Deployment) SetReplicas(object client.Object, replicas int32) {
	object.(*appsv1.Deployment).Spec.Replicas = &replicas
}

// Template of its pods.
func (Deployment) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*appsv1.Deployment).Spec.Template, nil
}

// Pods are those of all its ReplicaSets.
func (w Deployment) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOfSets(ctx, reader, object, w.Inspect(object).Selector)
}

// podsOfSets are the pods of all ReplicaSets that an object controls.
func podsOfSets(ctx context.Context, reader client.Reader, object client.Object, selector labels.Selector) ([]corev1.Pod, error) {
	// ReplicaSets first: a pod whose ReplicaSet is already gone is an orphan
	// that the next list no longer shows as controlled, and the other way round
	// a pod of a ReplicaSet that is made in between would be missed.
	sets, err := replicaSets(ctx, reader, object, selector)
	if err != nil {
		return nil, err
	}
	var owners []types.UID
	for i := range sets {
		owners = append(owners, sets[i].UID)
	}
	return podsOf(ctx, reader, object.GetNamespace(), selector, owners...)
}

// Controls asks the pod's ReplicaSet.
func (Deployment) Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	if controller.Kind != "ReplicaSet" {
		return false, nil
	}
	return through(ctx, reader, namespace, object, controller, &appsv1.ReplicaSet{})
}

// replicaSets are all ReplicaSets that an object controls, old ones too.
func replicaSets(ctx context.Context, reader client.Reader, owner client.Object, selector labels.Selector) ([]appsv1.ReplicaSet, error) {
	var sets appsv1.ReplicaSetList
	if err := reader.List(ctx, &sets, client.InNamespace(owner.GetNamespace()), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the replica sets of %s/%s: %w", owner.GetNamespace(), owner.GetName(), err)
	}
	var ours []appsv1.ReplicaSet
	for _, set := range sets.Items {
		if metav1.IsControlledBy(&set, owner) {
			ours = append(ours, set)
		}
	}
	return ours, nil
}

// Settle waits for the deployment controller to have seen the number, and for
// the ReplicaSets to have it.
func (w Deployment) Settle(ctx context.Context, api API, object client.Object) (Unsettled, error) {
	d := object.(*appsv1.Deployment)
	wait := setsWait{
		owner: d, selector: w.Inspect(d).Selector, replicas: wished(d.Spec.Replicas),
		// A paused deployment is scaled too; one that was made paused has nothing to
		// be scaled.
		mayHaveNone: d.Spec.Paused,
		newest:      func(set *appsv1.ReplicaSet) bool { return isNewest(d, set) },
	}
	if d.Status.ObservedGeneration < d.Generation {
		wait.first = "the deployment controller to see the restored number"
	}
	return wait.settle(ctx, api)
}

// setsWait waits for an object's ReplicaSets to be scaled. A ReplicaSet may have
// been kept at zero by the hold gate, whose view of Sessions lags by some
// milliseconds, and by as much as half a minute where the API server's own watch of
// them has to begin anew. To the controller that is a write that has succeeded; a
// change of the set's annotations makes it try again.
type setsWait struct {
	owner    client.Object
	selector labels.Selector
	replicas int32
	// first is what is waited for before the sets are looked at.
	first string
	// mayHaveNone says that there need not be a set.
	mayHaveNone bool
	newest      func(*appsv1.ReplicaSet) bool
}

func (w setsWait) settle(ctx context.Context, api API) (Unsettled, error) {
	sets, err := replicaSets(ctx, api, w.owner, w.selector)
	if err != nil {
		return Unsettled{}, err
	}
	waiting := Unsettled{For: w.first}
	scaled := int32(0)
	for i := range sets {
		scaled += wished(sets[i].Spec.Replicas)
	}
	short := w.first == "" && (!w.mayHaveNone || len(sets) > 0) && scaled < w.replicas
	if short {
		waiting.For = fmt.Sprintf("the replica sets to be scaled: %d of %d", scaled, w.replicas)
	}
	for i := range sets {
		set := &sets[i]
		_, claimed := set.Annotations[v1alpha1.ClaimAnnotation]
		_, nudged := set.Annotations[v1alpha1.NudgeAnnotation]
		before := set.DeepCopy()
		delete(set.Annotations, v1alpha1.ClaimAnnotation)
		kept := short && wished(set.Spec.Replicas) == 0 && w.newest(set)
		waiting.Kept = waiting.Kept || kept
		switch {
		case kept:
			// Each look adds one more change, so that each makes an event.
			metav1.SetMetaDataAnnotation(&set.ObjectMeta, v1alpha1.NudgeAnnotation, set.ResourceVersion)
		case w.first == "" && !short && nudged:
			delete(set.Annotations, v1alpha1.NudgeAnnotation)
		case !claimed:
			continue
		}
		if err := api.Writer.Patch(ctx, set, client.MergeFrom(before), client.FieldOwner(FieldManager)); client.IgnoreNotFound(err) != nil {
			return Unsettled{}, fmt.Errorf("cleaning replica set %s/%s: %w", set.Namespace, set.Name, err)
		}
	}
	return waiting, nil
}

// isNewest compares the revision that the deployment controller writes on both.
func isNewest(d *appsv1.Deployment, set *appsv1.ReplicaSet) bool {
	const revision = "deployment.kubernetes.io/revision"
	return set.Annotations[revision] == d.Annotations[revision]
}
