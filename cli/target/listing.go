package target

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Listed is one object that a session can be asked for.
type Listed struct {
	Ref
	Namespace string
	UID       types.UID
	// Kind as Kubernetes writes it: "Deployment".
	Kind string
	// Replicas that are asked for, or 1 and 0 for what is suspended instead of
	// being scaled; meaningless where Counted is false.
	Replicas int32
	Counted  bool
	// Containers whose place can be taken.
	Containers []string
	// NotHeld says why it cannot be held, but copied; empty when it can be held.
	NotHeld string
	// Claim is who claims to hold it; nil for nobody.
	Claim *v1alpha1.Claim
	// Pods are the UIDs of the pods that are known to be its own, PodNames their
	// names in order.
	Pods     []types.UID
	PodNames []string
	// Template is what its pods are, as far as the object itself tells.
	Template *corev1.PodTemplateSpec
}

// listPage is how many objects are asked for in one request.
const listPage = 500

// List finds what can be taken over in a namespace, in all for "": objects of
// the kinds that are known by name which nothing else controls, without what has
// ended. It makes one request for each kind, and one for every 500 objects.
//
// The words in forbidden are the kinds that may not be listed. The error is for
// a cluster that cannot be asked.
func List(ctx context.Context, reader Reader, namespace string) (found []Listed, forbidden []string, err error) {
	lists := make([][]unstructured.Unstructured, len(kinds))
	errs := make([]error, len(kinds))
	var group sync.WaitGroup
	for i, k := range kinds {
		group.Go(func() { lists[i], errs[i] = all(ctx, reader, k, namespace) })
	}
	group.Wait()
	above := map[types.UID]types.UID{}
	pods := map[types.UID][]types.UID{}
	names := map[types.UID][]string{}
	for i, k := range kinds {
		switch {
		case apierrors.IsNotFound(errs[i]): // not of this cluster
		case apierrors.IsForbidden(errs[i]):
			forbidden = append(forbidden, k.Resource)
		case errs[i] != nil:
			return nil, nil, fmt.Errorf("listing %s: %w", k.Resource, errs[i])
		}
		for j := range lists[i] {
			object := &lists[i][j]
			if owner := metav1.GetControllerOf(object); owner != nil {
				above[object.GetUID()] = owner.UID
			} else if listed, ok := listing(k, object); ok {
				found = append(found, listed)
			}
		}
	}
	for i, k := range kinds {
		for j := range lists[i] {
			if top := lists[i][j].GetUID(); k.name == "Pod" {
				for above[top] != "" {
					top = above[top]
				}
				pods[top] = append(pods[top], lists[i][j].GetUID())
				names[top] = append(names[top], lists[i][j].GetName())
			}
		}
	}
	for i := range found {
		found[i].Pods, found[i].PodNames = pods[found[i].UID], names[found[i].UID]
		slices.Sort(found[i].PodNames)
	}
	slices.SortFunc(found, func(a, b Listed) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.String(), b.String()))
	})
	return found, forbidden, nil
}

func all(ctx context.Context, reader Reader, k kind, namespace string) ([]unstructured.Unstructured, error) {
	var items []unstructured.Unstructured
	page := metav1.ListOptions{Limit: listPage}
	for {
		list, err := reader.Objects.Resource(k.GroupVersionResource).Namespace(namespace).List(ctx, page)
		if err != nil {
			return nil, err
		}
		items = append(items, list.Items...)
		if page.Continue = list.GetContinue(); page.Continue == "" {
			return items, nil
		}
	}
}

// listing is what is told of an object; false for one that has ended, or is a
// session's own.
func listing(k kind, object *unstructured.Unstructured) (Listed, bool) {
	if object.GetLabels()[v1alpha1.SessionUIDLabel] != "" {
		return Listed{}, false
	}
	phase, _, _ := unstructured.NestedString(object.Object, "status", "phase")
	if phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed) {
		return Listed{}, false
	}
	if done, _, _ := unstructured.NestedString(object.Object, "status", "completionTime"); done != "" {
		return Listed{}, false
	}
	listed := Listed{
		Ref:       Ref{Group: k.Group, Resource: k.Resource, Name: object.GetName()},
		Namespace: object.GetNamespace(), UID: object.GetUID(), Kind: k.name,
		Replicas: number(k, object), Counted: len(k.number) > 0, NotHeld: k.notHeld(object),
	}
	if text, ok := object.GetAnnotations()[v1alpha1.ClaimAnnotation]; ok {
		// One of another object came with a copy and means nothing.
		if claim, err := v1alpha1.ParseClaim(text); err == nil && claim.Workload == object.GetUID() {
			listed.Claim = &claim
		}
	}
	listed.Template = itsPods(k, object)
	listed.Containers = containers(k, object)
	return listed, true
}

// itsPods is the template of a workload; of a pod it is that pod itself.
func itsPods(k kind, object *unstructured.Unstructured) *corev1.PodTemplateSpec {
	pod := corev1.Pod{}
	if k.name != "Pod" {
		return templateOf(k, object)
	}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pod) != nil {
		return nil
	}
	return &corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
}

// containers are those of the object's own pods, where it tells.
func containers(k kind, object *unstructured.Unstructured) []string {
	template := itsPods(k, object)
	if template == nil {
		return nil
	}
	var names []string
	for _, c := range template.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}

// Containers are the containers of the target's pods, as far as the object
// itself tells.
func Containers(ctx context.Context, reader Reader, namespace string, ref Ref) ([]string, error) {
	r := resolver{Reader: reader, namespace: namespace}
	k, object, err := r.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	return containers(k, object), nil
}
