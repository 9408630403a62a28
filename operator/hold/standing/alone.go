package standing

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Above answers what controls a controller; nil for nothing, and for nothing that
// can be read.
type Above func(metav1.OwnerReference) (*metav1.OwnerReference, error)

// Once asks what controls a controller once for each: read reads a ReplicaSet or a
// Job, nil where it is not there or may not be read.
func Once(read func(metav1.OwnerReference) (metav1.Object, error)) Above {
	known := map[types.UID]*metav1.OwnerReference{}
	return func(controller metav1.OwnerReference) (*metav1.OwnerReference, error) {
		if of, ok := known[controller.UID]; ok {
			return of, nil
		}
		object, err := read(controller)
		if err != nil {
			return nil, fmt.Errorf("reading what controls %s %s: %w", strings.ToLower(controller.Kind), controller.Name, err)
		}
		var of *metav1.OwnerReference
		if object != nil && object.GetUID() == controller.UID {
			of = metav1.GetControllerOf(object)
		}
		known[controller.UID] = of
		return of, nil
	}
}

// WorkloadOf is what a pod is one of: its controller, or what controls that where it
// is a ReplicaSet or a Job, which others make and replace. Any other is taken as it
// is, whatever it may be; nil is a pod of nobody's.
func WorkloadOf(pod metav1.Object, above Above) (*metav1.OwnerReference, error) {
	controller := metav1.GetControllerOf(pod)
	if controller == nil || !between(*controller) {
		return controller, nil
	}
	of, err := above(*controller)
	if err != nil {
		return nil, err
	}
	if of == nil {
		return controller, nil
	}
	return of, nil
}

// between says whether a controller is mostly one that stands between pods and their
// workload.
func between(controller metav1.OwnerReference) bool {
	group, err := schema.ParseGroupVersion(controller.APIVersion)
	return err == nil && (group.Group == "apps" && controller.Kind == "ReplicaSet" || group.Group == "batch" && controller.Kind == "Job")
}

// Beside are the pods that are there beside the one that is frozen, of the same
// workload: a workload that was made anew under its pods counts as the same, so that
// there may be two. One that has ended, or is being deleted, is not there, and nor is
// what a session has made.
func Beside(pods []corev1.Pod, frozen types.UID, workloads []types.UID, above Above) ([]corev1.Pod, error) {
	var found []corev1.Pod
	for i := range pods {
		pod := &pods[i]
		_, ours := pod.Labels[v1alpha1.SessionLabel]
		if ours || pod.UID == frozen || !pod.DeletionTimestamp.IsZero() || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		of, err := WorkloadOf(pod, above)
		if err != nil {
			return nil, err
		}
		if of != nil && slices.Contains(workloads, of.UID) {
			found = append(found, *pod)
		}
	}
	return found, nil
}

// HoldWhole is what to do where one pod is not enough.
const HoldWhole = "--copy-target --scale-down holds the whole workload, and stops what scales it"

// NotAlone is what is said where a frozen pod is no longer the only one of its
// workload: others by their names, the workload as people write it, and why it has
// more, empty where nobody knows.
func NotAlone(frozen string, others []string, workload, why string) string {
	subject := "pod " + others[0] + " has"
	if len(others) > 1 {
		subject = "pods " + strings.Join(others[:min(len(others), 3)], ", ") + " have"
		if len(others) > 3 {
			subject = fmt.Sprintf("%d pods, %s among them, have", len(others), others[0])
		}
	}
	if why != "" {
		why = " (" + why + ")"
	}
	return fmt.Sprintf("%s come beside the frozen pod %s of %s%s, and would take what is meant for you; %s", subject, frozen, workload, why, HoldWhole)
}

// Scaled says why a workload has more pods than one: its number, and who wrote that
// last, or else the rollout that it is in; empty where neither tells.
func Scaled(replicas int32, writer, rollout string) string {
	switch {
	case replicas > 1 && writer != "":
		return fmt.Sprintf("its number is %d now, last written by %s", replicas, writer)
	case replicas > 1:
		return fmt.Sprintf("its number is %d now", replicas)
	case rollout != "":
		return "it is in a rollout: " + rollout
	}
	return ""
}

// MayBeScaled is what is said beforehand of what may raise the number of a workload
// whose only pod is frozen.
func MayBeScaled(scaler, workload string) string {
	return fmt.Sprintf("%s may give %s more pods, and the first of these ends the session", scaler, workload)
}
