package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// followFor is how long the ReplicaSets of what was put back are waited for: the
	// API server's gate may not have heard yet that nothing is held. unseenFor is how
	// long for a controller that has not even seen the number.
	followFor = 40 * time.Second
	unseenFor = 5 * time.Second
	// nudgeEvery is how often a controller is made to try again.
	nudgeEvery = 2 * time.Second
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
	// unseen is since when its controller has not seen the number, as far as is known.
	unseen time.Time
	// state is what it waits for; empty once it follows.
	state string
	// nudged are the ReplicaSets that bear something of ours, and tried is when one was
	// made to be tried last.
	nudged map[string]bool
	tried  time.Time
}

func (f *follower) String() string { return f.Resource + " " + f.namespace + "/" + f.name }

// expect has an object that was written to followed.
func (r *restorer) expect(resource schema.GroupVersionResource, namespace, name string, uid types.UID) {
	known := slices.ContainsFunc(r.back, func(f *follower) bool { return f.uid == uid })
	if revisions[resource.Resource] != "" && !known {
		r.back = append(r.back, &follower{GroupVersionResource: resource, namespace: namespace, name: name, uid: uid})
	}
}

// expectOwner has what controls a ReplicaSet followed that an earlier run, or an
// operator, has left waiting.
func (r *restorer) expectOwner(set *unstructured.Unstructured) {
	owner := metav1.GetControllerOf(set)
	if _, left := set.GetAnnotations()[v1alpha1.NudgeAnnotation]; !left || owner == nil {
		return
	}
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	if err != nil {
		return
	}
	r.expect(group.WithResource(strings.ToLower(owner.Kind)+"s"), set.GetNamespace(), owner.Name, owner.UID)
}

// follow waits until the ReplicaSets of what was put back have its number. The gate turns
// it into zero for as long as it has not heard of the release, and to the controller
// that is a write that has succeeded: it does not come back to it by itself.
func (r *restorer) follow(ctx context.Context) error {
	since, said := time.Now(), time.Now()
	waiting := slices.Clone(r.back)
	var failed error
	err := until(ctx, followFor, func() (bool, error) {
		failed = nil
		waiting = slices.DeleteFunc(waiting, func(f *follower) bool {
			done, err := r.look(ctx, f)
			if err != nil {
				// Tried again with the others, until the time is over.
				failed = fmt.Errorf("looking whether %s follows: %w", f, err)
				f.state = "that could not be looked at"
			}
			return done && err == nil
		})
		if len(waiting) > 0 && time.Since(said) >= sayEvery {
			r.Say("waiting for %s to follow: %s, after %s of at most %s", waiting[0], waiting[0].state, time.Since(since).Round(time.Second), followFor)
			said = time.Now()
		}
		return len(waiting) == 0, nil
	})
	failures := []error{err, failed}
	for _, f := range r.back {
		for set := range f.nudged {
			failures = append(failures, r.annotate(context.WithoutCancel(ctx), f, set, "null"))
		}
		if f.state != "" {
			r.Say("%s has its number, and does not follow it yet: %s. What keeps it is said by: kubectl -n %s describe %s %s", f, f.state, f.namespace, f.Resource, f.name)
		}
	}
	return errors.Join(failures...)
}

// look says whether there is nothing to wait for, and has a controller try again whose
// ReplicaSet is kept at zero.
func (r *restorer) look(ctx context.Context, f *follower) (done bool, err error) {
	f.state = ""
	object, err := r.objects.Resource(f.GroupVersionResource).Namespace(f.namespace).Get(ctx, f.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && object.GetUID() != f.uid {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	sets, err := r.setsOf(ctx, f, object)
	if err != nil {
		return false, err
	}
	wished, unset := numberOf(object, fieldOf(f.GroupVersionResource))
	has, newest := int32(0), (*appsv1.ReplicaSet)(nil)
	for i := range sets {
		has += ptr.Deref(sets[i].Spec.Replicas, 1)
		if newest == nil || revision(f, &sets[i]) > revision(f, newest) {
			newest = &sets[i]
		}
		if _, bears := sets[i].Annotations[v1alpha1.NudgeAnnotation]; bears {
			f.bears(sets[i].Name)
		}
	}
	if newest == nil || unset || has >= wished {
		return true, nil
	}
	// Rollouts have it as text.
	if seen, _, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration"); err == nil && seen < object.GetGeneration() {
		if f.unseen.IsZero() {
			f.unseen = time.Now()
		}
		f.state = "its controller has not seen the number: does it run?"
		return time.Since(f.unseen) > unseenFor, nil
	}
	f.unseen, f.state = time.Time{}, fmt.Sprintf("its replica sets have %d of %d", has, wished)
	if ptr.Deref(newest.Spec.Replicas, 1) != 0 || time.Since(f.tried) < nudgeEvery {
		return false, nil
	}
	f.tried = time.Now()
	f.bears(newest.Name)
	return false, r.annotate(ctx, f, newest.Name, strconv.Quote(newest.ResourceVersion))
}

func (f *follower) bears(set string) {
	if f.nudged == nil {
		f.nudged = map[string]bool{}
	}
	f.nudged[set] = true
}

// setsOf are the ReplicaSets that an object controls.
func (r *restorer) setsOf(ctx context.Context, f *follower, object *unstructured.Unstructured) ([]appsv1.ReplicaSet, error) {
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

func revision(f *follower, set *appsv1.ReplicaSet) int {
	n, _ := strconv.Atoi(set.Annotations[revisions[f.Resource]]) // 0 of one without
	return n
}

// annotate changes the nudge on a ReplicaSet, to what is JSON; null takes it off.
func (r *restorer) annotate(ctx context.Context, f *follower, set, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.NudgeAnnotation, value)
	_, err := r.kube.AppsV1().ReplicaSets(f.namespace).Patch(ctx, set, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("having the controller of replica set %s/%s try again: %w", f.namespace, set, err)
	}
	return nil
}
