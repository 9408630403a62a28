package restore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

const (
	// followFor is how long the ReplicaSets of what was put back are waited for: the
	// API server's gate may not have heard yet that nothing is held. unseenFor is how
	// long for a controller that has not even seen the number.
	followFor = 40 * time.Second
	unseenFor = 5 * time.Second
	// nudgeEvery is how often a controller is made to try again.
	nudgeEvery = 2 * time.Second
	// nudgeAnnotation on a ReplicaSet is a change, so that its controller comes to it.
	nudgeAnnotation = "understudy.dev/nudge"
)

// revisions are the annotations by which controllers number their ReplicaSets.
var revisions = map[string]string{
	"deployments": "deployment.kubernetes.io/revision",
	"rollouts":    "rollout.argoproj.io/revision",
}

// follower is an object whose ReplicaSets are to have its number.
type follower struct {
	schema.GroupVersionResource
	namespace, name string
	uid             types.UID
}

func (f follower) String() string { return f.Resource + " " + f.namespace + "/" + f.name }

// expect has an object that was written to followed.
func (r *restorer) expect(resource schema.GroupVersionResource, object *unstructured.Unstructured) {
	if revisions[resource.Resource] != "" {
		r.back = append(r.back, follower{resource, object.GetNamespace(), object.GetName(), object.GetUID()})
	}
}

// follow waits until the ReplicaSets of what was put back have its number. The gate turns
// it into zero for as long as it has not heard of the release, and to the controller
// that is a write that has succeeded: it does not come back to it by itself.
func (r *restorer) follow(ctx context.Context) error {
	since := time.Now()
	var failures []error
	for _, f := range r.back {
		if err := r.followOne(ctx, f, since); err != nil {
			failures = append(failures, fmt.Errorf("looking whether %s follows: %w", f, err))
		}
	}
	return errors.Join(failures...)
}

func (r *restorer) followOne(ctx context.Context, f follower, since time.Time) error {
	var sets []appsv1.ReplicaSet
	state, said, nudged := "", since, time.Time{}
	err := until(ctx, followFor-time.Since(since), func() (bool, error) {
		object, err := r.objects.Resource(f.GroupVersionResource).Namespace(f.namespace).Get(ctx, f.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && object.GetUID() != f.uid {
			state = ""
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if sets, err = r.setsOf(ctx, f, object); err != nil {
			return false, err
		}
		wished, unset := numberOf(object, fieldOf(f.GroupVersionResource))
		has, newest := int32(0), (*appsv1.ReplicaSet)(nil)
		for i := range sets {
			has += ptr.Deref(sets[i].Spec.Replicas, 1)
			if newest == nil || revision(f, &sets[i]) > revision(f, newest) {
				newest = &sets[i]
			}
		}
		if newest == nil || unset || has >= wished {
			state = ""
			return true, nil
		}
		// Rollouts have it as text.
		if seen, _, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration"); err == nil && seen < object.GetGeneration() {
			state = "its controller has not seen the number: does it run?"
			return time.Since(since) > unseenFor, nil
		}
		state = fmt.Sprintf("its replica sets have %d of %d", has, wished)
		if time.Since(said) >= sayEvery {
			r.Say("waiting for %s to follow: %s, after %s of at most %s", f, state, time.Since(since).Round(time.Second), followFor)
			said = time.Now()
		}
		if ptr.Deref(newest.Spec.Replicas, 1) == 0 && time.Since(nudged) >= nudgeEvery {
			nudged = time.Now()
			return false, r.annotate(ctx, newest, strconv.Quote(newest.ResourceVersion))
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	for i := range sets {
		if _, there := sets[i].Annotations[nudgeAnnotation]; there || !nudged.IsZero() {
			if err := r.annotate(ctx, &sets[i], "null"); err != nil {
				return err
			}
		}
	}
	if state != "" {
		r.Say("%s has its number, and does not follow it yet: %s. What keeps it is said by: kubectl -n %s describe %s %s", f, state, f.namespace, f.Resource, f.name)
	}
	return nil
}

// setsOf are the ReplicaSets that an object controls.
func (r *restorer) setsOf(ctx context.Context, f follower, object *unstructured.Unstructured) ([]appsv1.ReplicaSet, error) {
	// A Rollout may have the selector of a Deployment that it refers to, and none of its
	// own: then all are looked at.
	selected, _, _ := unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
	list, err := r.kube.AppsV1().ReplicaSets(f.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(selected).String()})
	if err != nil {
		return nil, fmt.Errorf("listing its replica sets: %w", err)
	}
	var ours []appsv1.ReplicaSet
	for i := range list.Items {
		if owner := metav1.GetControllerOf(&list.Items[i]); owner != nil && owner.UID == f.uid {
			ours = append(ours, list.Items[i])
		}
	}
	return ours, nil
}

func revision(f follower, set *appsv1.ReplicaSet) int {
	n, _ := strconv.Atoi(set.Annotations[revisions[f.Resource]]) // 0 of one without
	return n
}

// annotate changes the nudge on a ReplicaSet, to what is JSON; null takes it off.
func (r *restorer) annotate(ctx context.Context, set *appsv1.ReplicaSet, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, nudgeAnnotation, value)
	_, err := r.kube.AppsV1().ReplicaSets(set.Namespace).Patch(ctx, set.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("having the controller of replica set %s try again: %w", set.Name, err)
	}
	return nil
}
