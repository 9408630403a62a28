package hold

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// replicas is what all kinds have in common that have their number in
// spec.replicas.
type replicas struct{}

func (replicas) Field() []string { return []string{"f:spec", "f:replicas"} }

func (replicas) Describe(n int32) string {
	switch n {
	case 0:
		return "zero replicas"
	case 1:
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// suspended is what all kinds have in common that are not scaled but suspended:
// their number is 1 while they run and 0 while they are suspended.
type suspended struct{}

func (suspended) Field() []string { return []string{"f:spec", "f:suspend"} }

func (suspended) Describe(n int32) string { return fmt.Sprintf("suspend: %t", n == 0) }

// wished is the number that an unset spec.replicas stands for: 1, by the API's
// own default for Deployments, ReplicaSets and StatefulSets.
func wished(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// unsuspended is the number of a kind that is suspended by a flag.
func unsuspended(suspend *bool) int32 {
	if suspend != nil && *suspend {
		return 0
	}
	return 1
}

// selectorOf is a selector as an object has it. The API server validates
// selectors; one that it should not have taken selects nothing.
func selectorOf(selector *metav1.LabelSelector) labels.Selector {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}

// direct is what all kinds have in common that control their pods themselves.
type direct struct{}

// Controls compares: the controller is the object or is not.
func (direct) Controls(_ context.Context, _ client.Reader, _ string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	return controller.UID == object, nil
}

// podsOf lists the pods that one of the given objects controls.
func podsOf(ctx context.Context, reader client.Reader, namespace string, selector labels.Selector, owners ...types.UID) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := reader.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the pods %s in namespace %s: %w", selector, namespace, err)
	}
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool {
		c := metav1.GetControllerOf(&pod)
		return c == nil || !slices.Contains(owners, c.UID)
	}), nil
}

// through says whether the object of that UID controls what is referred to,
// which was to be read into owner. What is gone, or is another object by now,
// might have been its.
func through(ctx context.Context, reader client.Reader, namespace string, object types.UID, reference metav1.OwnerReference, owner client.Object) (bool, error) {
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: reference.Name}, owner)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s %s/%s: %w", reference.Kind, namespace, reference.Name, err)
	}
	top := metav1.GetControllerOf(owner)
	return owner.GetUID() != reference.UID || top == nil || top.UID == object, nil
}
