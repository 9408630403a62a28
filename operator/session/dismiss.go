package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// agentMargin is added to the lease before a stand-in that nobody can see is
// taken for silent.
const agentMargin = 15 * time.Second

// unready says first of all that the session is over: whoever relies on it
// must stop before anything is taken from under them.
func unready(ctx context.Context, v *visit) (bool, error) {
	if !v.final() {
		ready := v.condition(v1alpha1.ConditionReady)
		if ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ReasonEnding {
			v.over(v1alpha1.ReasonEnding, "The session was ended and is being undone.")
			v.event(corev1.EventTypeNormal, v1alpha1.ReasonEnding, "End", "The session was ended.")
		}
	}
	if v.status().HeldAt != nil && !v.is(v1alpha1.ConditionRestored) {
		v.returns.owes(v.key(), v.session.UID, time.Now())
	}
	// What comes next is said in the same write.
	if agent := v.status().Agent; v.status().StandIns > 0 && agent != nil && v.condition(v1alpha1.ConditionRestored).Status == metav1.ConditionUnknown {
		v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonStandInEnding, standInEnding(agent.PodName))
	}
	return true, v.save(ctx)
}

func standInEnding(pods ...string) string {
	return "Waiting for the stand-in to end: " + named(pods, ", ") + "."
}

// dismiss deletes the stand-in and waits until its agent is seen to have
// ended: the local process behind it must have lost the queue before the
// workload has it back.
//
// A stand-in on a node that nobody hears of may run on. The agent closes
// everything by itself once it has not heard from its owner for as long as the
// lease is, and nobody reaches it through a node that is cut off; so after the
// lease and a margin it is safe to go on, and waiting longer would leave the
// workload held for ever.
func dismiss(ctx context.Context, v *visit) (bool, error) {
	if v.is(v1alpha1.ConditionRestored) {
		return true, nil
	}
	if puttingBack(v.session) && v.condition(v1alpha1.ConditionStandInReady).Reason == v1alpha1.ReasonEnding {
		return true, nil // below, which has said the one before the other
	}
	asked, err := v.dismissUnseen(ctx)
	if asked || err != nil {
		return false, err
	}
	pods, err := v.standIns(ctx)
	if err != nil {
		return false, err
	}
	container := v.agentContainer()
	var left []string
	present := map[types.UID]bool{}
	for i := range pods {
		pod := &pods[i]
		if !v.madeIt(pod) {
			continue
		}
		present[pod.UID] = true
		if pod.DeletionTimestamp.IsZero() {
			if err := v.deletePod(ctx, pod, pod.UID); err != nil {
				return false, err
			}
		}
		if pod.Spec.NodeName != "" && !hold.Ended(pod, container) && !stopped(pod, container) {
			left = append(left, pod.Name)
		}
	}
	if agent := v.status().Agent; agent != nil && agent.NodeName != "" && !present[agent.PodUID] && v.status().StandIns > 0 {
		node, err := v.node(ctx, agent.NodeName)
		if err != nil {
			return false, err
		}
		if node != hold.NodeReady {
			left = append(left, agent.PodName+" (gone, but its node "+agent.NodeName+" is not Ready)")
		}
	}
	if len(left) > 0 {
		silentAt := v.condition(v1alpha1.ConditionReady).LastTransitionTime.Add(v.leaseDuration() + agentMargin)
		if wait := silentAt.Sub(v.now()); wait > 0 {
			v.awaitEnd(wait, left...)
			return false, nil
		}
		v.event(corev1.EventTypeWarning, "StandInUnconfirmed", "End", "The stand-in was not seen to end; its agent has closed by itself: "+named(left, ", ")+".")
	}
	v.status().StandIns = 0
	v.set(v1alpha1.ConditionStandInReady, metav1.ConditionFalse, v1alpha1.ReasonEnding, "The session was ended.")
	return true, nil
}

// awaitEnd says which stand-ins are waited for, for so long at most.
func (v *visit) awaitEnd(most time.Duration, pods ...string) {
	v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonStandInEnding, standInEnding(pods...))
	every := lookAtNodes
	if v.Busy() {
		every = lookAtNodesRarely
	}
	v.again(min(most, every))
	v.later = true // it is the pod's end that is urgent, and wakes the session
}

// dismissUnseen deletes the only stand-in that there was without having read it, and
// says whether its end is to be waited for: the watch wakes the session then, and the
// pod is read. It is done once, and not where anything is not as it was noted.
func (v *visit) dismissUnseen(ctx context.Context) (bool, error) {
	agent := v.status().Agent
	if agent == nil || agent.Namespace != "" || agent.Incarnation != 1 || agent.PodUID == "" || agent.NodeName == "" || !v.returns.asks(v.key(), v.session.UID, agent.PodUID) {
		return false, nil
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: v.session.Namespace, Name: agent.PodName}}
	err := v.Writer.Delete(ctx, pod, client.Preconditions{UID: &agent.PodUID})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("deleting the stand-in %s: %w", pod.Name, err)
	}
	v.awaitEnd(v.leaseDuration()+agentMargin, agent.PodName)
	return true, nil
}

// readByName is up to how many stand-ins are read by their names.
const readByName = 3

// standIns are the pods that bear the session's name. Each has a number, which was
// saved before the pod was made; mostly there was one, and it is read alone: a list
// is looked for among all pods of the namespace.
func (v *visit) standIns(ctx context.Context) ([]corev1.Pod, error) {
	agent := v.status().Agent
	if agent == nil || agent.Namespace != "" || agent.Incarnation > readByName {
		var pods corev1.PodList
		if err := v.Live.List(ctx, &pods, client.InNamespace(v.session.Namespace), client.MatchingLabels{v1alpha1.SessionLabel: v.session.Name}); err != nil {
			return nil, fmt.Errorf("listing the stand-ins: %w", err)
		}
		return pods.Items, nil
	}
	var pods []corev1.Pod
	for number := int32(1); number <= agent.Incarnation; number++ {
		pod := corev1.Pod{}
		err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.session.Namespace, Name: podName(v.session.Name, number)}, &pod)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the stand-in: %w", err)
		}
		if err == nil {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// madeIt says whether a pod is this session's stand-in. Who deletes a session
// with its dependents orphaned takes the owner off, and then a ReplicaSet whose
// selector matches may adopt the pod.
func (v *visit) madeIt(pod *corev1.Pod) bool {
	agent := v.status().Agent
	return metav1.IsControlledBy(pod, v.session) ||
		agent != nil && agent.PodUID == pod.UID ||
		metav1.GetControllerOf(pod) == nil && strings.HasPrefix(pod.Name, v.session.Name+"-standin-") && pod.Labels[v1alpha1.SessionLabel] == v.session.Name
}

// stopped says that the agent's container has terminated in a pod that is
// being deleted, where the kubelet starts nothing again. Unlike an old pod's
// container an agent that were started once more would read nothing by itself.
func stopped(pod *corev1.Pod, container string) bool {
	if pod.DeletionTimestamp.IsZero() {
		return false
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for _, status := range statuses {
			if status.Name == container {
				return status.State.Terminated != nil
			}
		}
	}
	return false
}

func (v *visit) deletePod(ctx context.Context, pod *corev1.Pod, uid types.UID) error {
	var opts []client.DeleteOption
	if uid != "" {
		opts = append(opts, client.Preconditions{UID: &uid})
	}
	if err := v.Writer.Delete(ctx, pod.DeepCopy(), opts...); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the stand-in %s: %w", pod.Name, err)
	}
	return nil
}
