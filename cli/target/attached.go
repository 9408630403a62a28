package target

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Attached is the pod that a session attaches to: the one that is named, or of
// a workload one that runs and that nobody has, as far as there is one. taken
// are the pods that other sessions have. Errors that the user can act on are
// *failure.Failure.
func Attached(ctx context.Context, reader Reader, namespace string, ref Ref, taken map[types.UID]bool) (*Target, error) {
	var pod *corev1.Pod
	var notices []string
	if ref.Group == "" && ref.Resource == "pods" {
		named, err := onePod(ctx, reader, namespace, ref)
		if err != nil {
			return nil, err
		}
		pod = named
	} else {
		reach, err := Reaching(ctx, reader, namespace, ref)
		if err != nil {
			return nil, err
		}
		if pod = choose(reach.Pods, taken); pod == nil {
			return nil, failure.New("wait for a pod, or run in a copy, which needs none: --copy-target", "%s runs no pod that could be attached to", reach.Target)
		}
		which := "the only one of " + reach.Target
		if n := len(reach.Pods); n > 1 {
			which = fmt.Sprintf("one of the %d of %s", n, reach.Target)
		}
		notices = append(notices, fmt.Sprintf("pod %s is attached to, %s", pod.Name, which))
	}
	name, notice, err := container(ref.Container, pod.Spec, pod.Annotations)
	if err != nil {
		return nil, &failure.Failure{What: fmt.Sprintf("pod/%s in namespace %s", pod.Name, namespace), Err: err}
	}
	if notice != "" {
		notices = append(notices, notice)
	}
	return &Target{
		Target:    v1alpha1.Target{Resource: "pods", Name: pod.Name, UID: pod.UID, Container: name},
		Namespace: namespace, Kind: "pod", Replicas: 1, Notices: notices, Pod: pod,
	}, nil
}

// onePod reads the pod that is named. A stand-in is no target.
func onePod(ctx context.Context, reader Reader, namespace string, ref Ref) (*corev1.Pod, error) {
	r := resolver{Reader: reader, namespace: namespace}
	_, object, err := r.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	if owner := metav1.GetControllerOf(object); owner != nil && owner.Kind == "Session" && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/") {
		return nil, failure.New("name the workload that it stands in for", "%s is the stand-in of session %s", ref, owner.Name)
	}
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, pod); err != nil {
		return nil, fmt.Errorf("reading pod %s: %w", ref.Name, err)
	}
	return pod, nil
}

// choose is the pod of a workload that is likeliest to be of use: one that is
// nobody's before others, then one that is ready, then the oldest. Nil where
// all are on their way out.
func choose(pods []corev1.Pod, taken map[types.UID]bool) *corev1.Pod {
	var staying []*corev1.Pod
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			staying = append(staying, &pods[i])
		}
	}
	if len(staying) == 0 {
		return nil
	}
	rank := func(p *corev1.Pod) int {
		rank := 0
		if taken[p.UID] {
			rank += 2
		}
		if !ready(p) {
			rank++
		}
		return rank
	}
	return slices.MinFunc(staying, func(a, b *corev1.Pod) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
