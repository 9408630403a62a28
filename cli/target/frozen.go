package target

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Reach is what freezing would have to reach of a target.
type Reach struct {
	// Target as a person names it.
	Target string
	// Bare: the target is a pod that belongs to no workload.
	Bare bool
	// Pods of the target that have not ended.
	Pods []corev1.Pod
	// owners of the pod that was found last, the nearest first.
	owners []metav1.OwnerReference
}

// Reaching finds the pods of what a person names: a pod stands for the whole
// workload that it belongs to, as the others read from the same queue. Errors
// that the user can act on are *failure.Failure.
func Reaching(ctx context.Context, reader Reader, namespace string, ref Ref) (Reach, error) {
	r := resolver{Reader: reader, namespace: namespace}
	reach := Reach{Target: ref.String()}
	k, err := r.kindOf(schema.GroupResource{Group: ref.Group, Resource: ref.Resource})
	if err != nil {
		return reach, err
	}
	object, err := r.get(ctx, k, ref.Name)
	if err != nil {
		return reach, err
	}
	owners := ownership{resolver: r, above: map[types.UID]*metav1.OwnerReference{}}
	whole := object.GetUID()
	if k.name == "Pod" {
		top, err := owners.top(ctx, object)
		if err != nil {
			return reach, err
		}
		if reach.Bare = top == nil; !reach.Bare {
			reach.Target, whole = strings.ToLower(top.Kind)+"/"+top.Name, top.UID
		}
	}
	pods, _ := called("pod")
	list, err := r.Objects.Resource(pods.GroupVersionResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return reach, r.explain(err, pods, ref.Name, nil)
	}
	for i := range list.Items {
		pod := corev1.Pod{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &pod); err != nil {
			return reach, fmt.Errorf("reading pod %s: %w", list.Items[i].GetName(), err)
		}
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		top, err := owners.top(ctx, &pod)
		if err != nil {
			return reach, err
		}
		if reach.Bare && pod.UID == whole || !reach.Bare && top != nil && top.UID == whole {
			reach.Pods = append(reach.Pods, pod)
			if reach.owners, err = owners.all(ctx, &pod); err != nil {
				return reach, err
			}
		}
	}
	return reach, nil
}

// ownership climbs from pods to the workloads that they belong to.
type ownership struct {
	resolver
	// above remembers what controls an object; nil is nothing, or nothing that
	// can be read.
	above map[types.UID]*metav1.OwnerReference
}

// top is the workload that an object belongs to in the end; nil for none.
func (o ownership) top(ctx context.Context, object metav1.Object) (*metav1.OwnerReference, error) {
	all, err := o.all(ctx, object)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[len(all)-1], nil
}

// all are what controls an object, and what controls that, up to the workload that it
// belongs to in the end.
func (o ownership) all(ctx context.Context, object metav1.Object) ([]metav1.OwnerReference, error) {
	var all []metav1.OwnerReference
	for next := metav1.GetControllerOf(object); next != nil; {
		all = append(all, *next)
		above, known := o.above[next.UID]
		if !known {
			var err error
			if above, err = o.controllerOf(ctx, *next); err != nil {
				return nil, err
			}
			o.above[next.UID] = above
		}
		next = above
	}
	return all, nil
}

// controllerOf is what controls an owner. What is of an unknown kind, is gone or
// may not be read is taken for the end.
func (o ownership) controllerOf(ctx context.Context, owner metav1.OwnerReference) (*metav1.OwnerReference, error) {
	k, err := o.kindOfOwner(owner)
	if err != nil {
		return nil, nil //nolint:nilerr // nobody climbs higher
	}
	object, err := o.Objects.Resource(k.GroupVersionResource).Namespace(o.namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, o.explain(err, k, owner.Name, nil)
	}
	return metav1.GetControllerOf(object), nil
}

// Frozen is the target of a session that freezes the only pod there is.
func (r Reach) Frozen(namespace, asked string) (*Target, error) {
	pod := &r.Pods[0]
	name, notice, err := container(asked, pod.Spec, pod.Annotations)
	if err != nil {
		return nil, err
	}
	var notices []string
	if !r.Bare {
		notices = append(notices, fmt.Sprintf("pod %s is the only one of %s, and is frozen", pod.Name, r.Target))
	}
	if notice != "" {
		notices = append(notices, notice)
	}
	return &Target{
		Target:    v1alpha1.Target{Resource: "pods", Name: pod.Name, UID: pod.UID, Container: name},
		Namespace: namespace, Kind: "pod", Replicas: 1, Notices: notices, Pod: pod, Owners: r.owners,
	}, nil
}
