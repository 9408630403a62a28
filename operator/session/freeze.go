package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/fence/plan"
	"understudy.dev/understudy/operator/nodeagent"
)

// setUpFrozen and undoFrozen are the two lists of a session that freezes a pod, or
// attaches to one.
// The order makes the promise: what may be frozen is written into the Session,
// which has its finalizer, and into the lock on the pod, before there is an
// agent that could freeze; the finalizer goes after the proof that nothing is
// frozen any more.
var setUpFrozen = []step{
	{"limits", limits},
	{"policy", policy},
	{"target pod", targetPod},
	{"enlist", enlist},
	{"record pod", recordPod},
	{"alone", remainsAlone},
	{"lock", lock},
	{"lease", lease},
	{"node agent", nodeAgent},
	{"still alone", stillAlone},
	{"ready", ready},
}

var undoFrozen = []step{
	{"unready", unready},
	{"thaw", thaw},
	{"retire", retire},
}

func (v *visit) freezes() bool { return v.session.Spec.Takeover == v1alpha1.TakeoverFreeze }

// onNode says whether the session's agent is one on the target's node.
func (v *visit) onNode() bool { return v.freezes() || v.attaches() }

// lists are the steps of this session's takeover.
func (v *visit) lists() (up, down []step) {
	switch {
	case v.onNode():
		return setUpFrozen, undoFrozen
	case v.targetless():
		return setUpTargetless, undo
	}
	return setUp, undo
}

// conditions are those that this session's takeover comes to.
func (v *visit) conditions() []string {
	switch {
	case v.onNode():
		return []string{
			v1alpha1.ConditionRecorded, v1alpha1.ConditionClaimed, v.grip().condition,
			v1alpha1.ConditionReady, v1alpha1.ConditionRestored,
		}
	case v.targetless():
		return targetlessConditions
	}
	return []string{
		v1alpha1.ConditionRecorded, v1alpha1.ConditionClaimed, v1alpha1.ConditionStandInReady,
		v1alpha1.ConditionHeld, v1alpha1.ConditionReady, v1alpha1.ConditionRestored,
	}
}

// targetPod reads the pod, and ends the session when it is not, or no longer,
// one that may be frozen: a pod that is being deleted must have been thawed to
// end as its application wants.
func targetPod(ctx context.Context, v *visit) (bool, error) {
	target := v.session.Spec.Target
	if v.AgentsNamespace == "" && v.attaches() {
		return false, final(v1alpha1.ReasonAttachUnsupported, "nothing is attached to in this cluster: an administrator allows it with the chart's value freeze.enabled; a copy needs no such thing")
	}
	if v.AgentsNamespace == "" {
		return false, final(v1alpha1.ReasonFreezeUnsupported, "nothing is frozen in this cluster: an administrator allows it with the chart's value freeze.enabled; a copy with the workload scaled down needs no such thing")
	}
	if target.Group != "" || target.Resource != "pods" {
		return false, final(v1alpha1.ReasonTargetUnsupported, "%s has no agent on a node, only a pod has", groupResource(target))
	}
	pod := &corev1.Pod{}
	err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.session.Namespace, Name: target.Name}, pod)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the pod: %w", err)
	}
	begun := v.status().Frozen != nil
	switch {
	case apierrors.IsNotFound(err) && !begun:
		return false, final(v1alpha1.ReasonTargetNotFound, "there is no pod %s in namespace %s", target.Name, v.session.Namespace)
	case apierrors.IsNotFound(err), pod.UID != target.UID && begun:
		return false, final(v1alpha1.ReasonTargetEnded, "pod %s is gone", target.Name)
	case pod.UID != target.UID:
		return false, final(v1alpha1.ReasonTargetReplaced, "pod %s was deleted and made anew since the session was asked for: start another session", target.Name)
	case !pod.DeletionTimestamp.IsZero():
		return false, final(v1alpha1.ReasonTargetEnded, "pod %s is being deleted", target.Name)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return false, final(v1alpha1.ReasonTargetEnded, "pod %s has ended: %s", target.Name, orElse(pod.Status.Message, pod.Status.Reason, string(pod.Status.Phase)))
	}
	v.pod = pod
	v.Pods.EnsurePod(v.key(), pod)
	if begun {
		return true, nil
	}
	if _, ours := pod.Labels[v1alpha1.SessionLabel]; ours || pod.Namespace == v.AgentsNamespace {
		return false, final(v1alpha1.ReasonTargetUnsupported, "pod %s is one of Understudy's own", target.Name)
	}
	if nodeagent.Container(&pod.Spec, target.Container) == nil {
		return false, final(v1alpha1.ReasonContainerNotFound, "pod %s has no container %s", target.Name, target.Container)
	}
	for _, reason := range v.preflight(pod) {
		// One that is still starting is waited for.
		if reason.Final && reason.Code != "NotStarted" {
			return false, final(v.grip().unsupported, v.grip().refusal, target.Name, reason.Message)
		}
	}
	if why := nodeagent.NotYet(pod, target.Container); why != "" {
		v.waiting(v1alpha1.ReasonTargetNotRunning, "Waiting for pod "+target.Name+": "+why+".")
		v.again(askAgain)
		return false, nil
	}
	return true, nil
}

func (v *visit) preflight(pod *corev1.Pod) []plan.Reason {
	if v.attaches() {
		return plan.Attachable(pod, v.session.Spec.Target.Container)
	}
	return plan.Preflight(pod, v.session.Spec.Target.Container)
}

// recordPod writes down what may be frozen, and has it acknowledged before
// there is an agent.
func recordPod(ctx context.Context, v *visit) (bool, error) {
	if v.status().Frozen == nil {
		onlyOf, err := v.onlyOf(ctx)
		if err != nil {
			return false, err
		}
		v.status().Frozen = &v1alpha1.FrozenPod{
			UID: v.pod.UID, NodeName: v.pod.Spec.NodeName,
			ContainerID: nodeagent.Status(v.pod, v.session.Spec.Target.Container).ContainerID,
			OnlyOf:      onlyOf,
		}
		for _, reason := range v.preflight(v.pod) {
			v.event(corev1.EventTypeWarning, "Freeze"+reason.Code, "Freeze", "Meanwhile: "+reason.Message+".")
		}
	}
	v.set(v1alpha1.ConditionRecorded, metav1.ConditionTrue, v1alpha1.ReasonDone, fmt.Sprintf(v.grip().recorded, v.session.Spec.Target.Container, v.status().Frozen.NodeName))
	return true, v.save(ctx)
}
