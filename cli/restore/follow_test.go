package restore

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// sets makes a deployment's ReplicaSets, an older one and the newest, both at zero.
func (w *world) sets(d *appsv1.Deployment) {
	w.t.Helper()
	for name, revision := range map[string]string{"-old": "9", "-now": "10"} {
		_, err := w.kube.AppsV1().ReplicaSets(w.namespace).Create(w.t.Context(), &appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{
				Name: d.Name + name, Labels: d.Spec.Template.Labels, Annotations: map[string]string{"deployment.kubernetes.io/revision": revision},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
			},
			Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(0)), Selector: d.Spec.Selector, Template: d.Spec.Template},
		}, metav1.CreateOptions{})
		w.must(err)
	}
}

func (w *world) set(name string) *appsv1.ReplicaSet {
	w.t.Helper()
	set, err := w.kube.AppsV1().ReplicaSets(w.namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	return set
}

// seen has the deployment controller see what a deployment is now.
func (w *world) seen(ctx context.Context, name string) error {
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	d, err := deployments.Get(ctx, name, metav1.GetOptions{})
	if err != nil || d.Status.ObservedGeneration == d.Generation {
		return err
	}
	d.Status.ObservedGeneration = d.Generation
	_, err = deployments.UpdateStatus(ctx, d, metav1.UpdateOptions{})
	return err
}

// The gate hears late of the release, and turned the controller's write into zero: the
// controller is made to try again until it succeeds, and no trace is left of that.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	w.held("worker", true)
	w.sets(w.read("worker"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	tries := map[string]bool{}
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := w.seen(ctx, "worker"); err != nil {
				continue // a conflict: again
			}
			set, err := w.kube.AppsV1().ReplicaSets(w.namespace).Get(ctx, "worker-now", metav1.GetOptions{})
			if err != nil {
				continue
			}
			if nudge := set.Annotations[v1alpha1.NudgeAnnotation]; nudge != "" {
				tries[nudge] = true
			}
			if len(tries) == 2 && *set.Spec.Replicas == 0 {
				_, _ = w.kube.AppsV1().ReplicaSets(w.namespace).Patch(ctx, set.Name, types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
			}
		}
	}()
	said, err := w.run(false)
	cancel()
	<-ended
	w.must(err)
	if n := w.replicas("worker"); n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
	if set := w.set("worker-now"); *set.Spec.Replicas != 3 || set.Annotations[v1alpha1.NudgeAnnotation] != "" {
		t.Errorf("it has %d replicas, and bears %v; the controller was made to try %d times", *set.Spec.Replicas, set.Annotations, len(tries))
	}
	if set := w.set("worker-old"); set.Annotations[v1alpha1.NudgeAnnotation] != "" {
		t.Errorf("an old one bears %v", set.Annotations)
	}
	if slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "does not follow") }) {
		t.Errorf("it said: %q", said)
	}
}

// A controller that does not run is not waited for, and that is said.
func TestFollowUnseen(t *testing.T) {
	w := newWorld(t)
	w.held("worker", true)
	w.sets(w.read("worker"))
	began := time.Now()
	said, err := w.run(false)
	w.must(err)
	if took := time.Since(began); took > followFor/2 {
		t.Errorf("it took %s", took)
	}
	if n := w.replicas("worker"); n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
	if !slices.ContainsFunc(said, func(s string) bool {
		return strings.HasPrefix(s, "deployments "+w.namespace+"/worker has its number, and does not follow it yet: its controller has not seen")
	}) {
		t.Errorf("it said: %q", said)
	}
	if set := w.set("worker-now"); set.Annotations[v1alpha1.NudgeAnnotation] != "" {
		t.Errorf("it bears %v", set.Annotations)
	}
}
