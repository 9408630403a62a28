package hold

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/standing"
)

// Scalable holds custom resources of one kind that has a scale subresource: it
// says where their number is, and which pods are theirs.
//
// What its own operator makes of the number is that operator's business: it is
// expected to end all pods at zero, and seen to have done so.
type Scalable struct {
	replicas
	schema.GroupResource

	// Set by learn.
	kind schema.GroupVersionKind
	// running and selector are the paths of the pods' number and of their
	// selector, a text, in the status.
	running, selector []string
}

var _ Workload = Scalable{}

// NotScalableError says why a kind cannot be held at all.
type NotScalableError struct {
	Message string
	// Absent says that the cluster has no such kind, and so none of its objects.
	Absent bool
}

func (e *NotScalableError) Error() string { return e.Message }

var definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// learn reads the kind's definition.
func (w Scalable) learn(ctx context.Context, reader client.Reader) (Workload, error) {
	definition := emptyOf(definitionKind)
	err := reader.Get(ctx, client.ObjectKey{Name: w.GroupResource.String()}, definition)
	if apierrors.IsNotFound(err) {
		return nil, &NotScalableError{Message: fmt.Sprintf("the cluster has no custom resource %s", w.GroupResource), Absent: true}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the definition of %s: %w", w.GroupResource, err)
	}
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		return nil, fmt.Errorf("reading the definition of %s: %w", w.GroupResource, err)
	}
	for _, v := range versions {
		version, ok := v.(map[string]any)
		if served, _, _ := unstructured.NestedBool(version, "served"); !ok || !served {
			continue
		}
		scale, found, _ := unstructured.NestedMap(version, "subresources", "scale")
		if !found {
			continue
		}
		// What the operator's admission policy lets it write, too.
		if path := textAt(scale, "specReplicasPath"); path != ".spec.replicas" {
			return nil, &NotScalableError{Message: fmt.Sprintf("%s has its number of replicas in %s, and only .spec.replicas can be held", w.GroupResource, path)}
		}
		selector := textAt(scale, "labelSelectorPath")
		if selector == "" {
			return nil, &NotScalableError{Message: fmt.Sprintf("the scale subresource of %s does not say which pods it is about (labelSelectorPath), so that nobody could tell when they have ended", w.GroupResource)}
		}
		w.kind = schema.GroupVersionKind{Group: w.Group, Version: textAt(version, "name"), Kind: textAt(definition.Object, "spec", "names", "kind")}
		w.running, w.selector = pathOf(textAt(scale, "statusReplicasPath")), pathOf(selector)
		return w, nil
	}
	return nil, &NotScalableError{Message: fmt.Sprintf("%s has no scale subresource, so that nothing of it could be brought to zero", w.GroupResource)}
}

// pathOf takes a JSON path of plain names apart, which is all that a definition
// may have.
func pathOf(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

// Resource is the plural that targets name it by.
func (w Scalable) Resource() schema.GroupResource { return w.GroupResource }

// Kind of its objects; without a name before it was learned.
func (w Scalable) Kind() schema.GroupVersionKind { return w.kind }

// New makes an empty one.
func (w Scalable) New() client.Object { return emptyOf(w.kind) }

// Inspect reads its state.
func (w Scalable) Inspect(object client.Object) State {
	content := object.(*unstructured.Unstructured).Object
	state := State{Controller: metav1.GetControllerOf(object), Running: Unknown, Selector: labels.Nothing()}
	number, known := numberAt(content, w.numberPath()...)
	state.Replicas, state.Unset = number, !known
	selector, err := labels.Parse(textAt(content, w.selector...))
	switch {
	case !known:
		state.Refusal = "its number of replicas is not set, so that nobody knows what to put back: set it first"
	case err != nil || selector.Empty():
		state.Refusal = "its status does not say which pods are its own (" + strings.Join(w.selector, ".") + "): does its operator run?"
	default:
		state.Selector = selector
	}
	if running, ok := numberAt(content, w.running...); ok {
		state.Running = running
	}
	if observed, ok := numberAt(content, "status", "observedGeneration"); ok {
		state.Rollout = standing.Unseen(int64(observed), object.GetGeneration())
	}
	return state
}

func (Scalable) numberPath() []string { return []string{"spec", "replicas"} }

// SetReplicas changes the number.
func (w Scalable) SetReplicas(object client.Object, replicas int32) {
	setAt(object, int64(replicas), w.numberPath()...)
}

// Template is what is in spec.template, where many kinds have it.
func (Scalable) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return templateAt(object.(*unstructured.Unstructured).Object)
}

// Pods are those that the object's selector selects and that it controls, by
// whatever is between the two.
func (w Scalable) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	var pods corev1.PodList
	selector := w.Inspect(object).Selector
	if err := reader.List(ctx, &pods, client.InNamespace(object.GetNamespace()), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the pods %s in namespace %s: %w", selector, object.GetNamespace(), err)
	}
	// Pods have few controllers, and each is asked for once.
	known := map[types.UID]bool{}
	var ours []corev1.Pod
	for i := range pods.Items {
		controller := metav1.GetControllerOf(&pods.Items[i])
		if controller == nil {
			continue
		}
		owned, seen := known[controller.UID]
		if !seen {
			var err error
			if owned, err = w.Controls(ctx, reader, object.GetNamespace(), object.GetUID(), *controller); err != nil {
				return nil, err
			}
			known[controller.UID] = owned
		}
		if owned {
			ours = append(ours, pods.Items[i])
		}
	}
	return ours, nil
}

// deepest is how many controllers there may be between an object and its pods.
const deepest = 5

// Controls climbs from controller to controller. Where one may not be read the
// selector decides, which the object itself has given.
func (w Scalable) Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	for range deepest {
		if controller.UID == object {
			return true, nil
		}
		if controller.Kind == "Session" {
			return false, nil
		}
		between := &metav1.PartialObjectMetadata{}
		between.SetGroupVersionKind(schema.FromAPIVersionAndKind(controller.APIVersion, controller.Kind))
		err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: controller.Name}, between)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err), meta.IsNoMatchError(err):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("reading %s %s/%s: %w", controller.Kind, namespace, controller.Name, err)
		}
		next := metav1.GetControllerOf(between)
		if between.UID != controller.UID {
			return true, nil
		}
		if next == nil {
			return false, nil
		}
		controller = *next
	}
	return true, nil
}

// Settle waits for its controller to have seen the number, where it says so.
func (w Scalable) Settle(_ context.Context, _ API, object client.Object) (Unsettled, error) {
	if w.Inspect(object).Rollout != "" {
		return Unsettled{For: "its own controller to see the restored number"}, nil
	}
	return Unsettled{}, nil
}

// IsNotScalable says whether an error is about the kind and not about the
// moment.
func IsNotScalable(err error) (string, bool) {
	var no *NotScalableError
	if errors.As(err, &no) {
		return no.Message, true
	}
	return "", false
}

// IsAbsent says whether an error is that the cluster has no such kind.
func IsAbsent(err error) bool {
	var no *NotScalableError
	return errors.As(err, &no) && no.Absent
}
