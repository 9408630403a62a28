package session

import (
	"context"
	"fmt"
	"slices"
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

// lookAtNodes is how often the nodes of pods that take too long are asked for.
const lookAtNodes = 2 * time.Second

// lookAtNodesRarely is how often where many numbers are to be put back: mostly it is
// the pod's end that comes first, and wakes the session.
const lookAtNodesRarely = 10 * time.Second

// oldPods waits until no pod of the held workload can be running the target
// container, by proof. A pod that ran although the workload was held makes the
// session unready until it has ended.
func oldPods(ctx context.Context, v *visit) (bool, error) {
	if !v.scalesDown() {
		return true, nil
	}
	wasReady := v.is(v1alpha1.ConditionReady)
	if v.object == nil && len(v.status().OldPods) == 0 {
		return true, nil
	}
	_, jobs := v.kind.(hold.JobMaker)
	if wasReady && len(v.status().OldPods) == 0 && v.kind.Inspect(v.object).Running == 0 && !jobs {
		return true, nil
	}
	if v.object != nil {
		if unheeded := v.kind.Inspect(v.object).Unheeded; unheeded != "" {
			v.again(lookAtNodes)
			v.waiting(v1alpha1.ReasonAutoscalerPausing, "Waiting for the target to pause: "+unheeded+".")
			return false, nil
		}
	}
	pods, err := v.podsNow(ctx)
	if err != nil {
		return false, err
	}
	left, judgement, err := v.judge(ctx, pods)
	if err != nil {
		return false, err
	}
	// After the pods: one that a job began in between is seen by its job.
	active, err := v.activeJobs(ctx)
	if err != nil {
		return false, err
	}
	v.noteBroken(pods, active)
	v.status().OldPods = left
	switch {
	case len(judgement.unconfirmed) > 0:
		v.again(lookAtNodes)
		v.waiting(v1alpha1.ReasonOldPodUnconfirmed, "It is not known whether these pods have ended: "+named(judgement.unconfirmed, "; ")+".")
		return false, nil
	case len(judgement.running) > 0:
		v.again(lookAtNodes)
		v.waiting(v1alpha1.ReasonOldPodsRunning, "Waiting for the workload's pods to end: "+named(judgement.running, ", ")+".")
		return false, nil
	case len(active) > 0:
		v.again(lookAtNodes)
		v.waiting(v1alpha1.ReasonOldPodsRunning, "Waiting for the workload's jobs to end, which may begin another pod: "+named(active, ", ")+".")
		return false, nil
	}
	v.Pods.Stop(v.key())
	if v.is(v1alpha1.ConditionHoldBroken) {
		v.set(v1alpha1.ConditionHoldBroken, metav1.ConditionFalse, v1alpha1.ReasonDone, "Over: "+v.condition(v1alpha1.ConditionHoldBroken).Message)
	}
	return true, nil
}

// podsNow lists the workload's pods, and those noted ones that no longer belong
// to it because the workload is gone.
func (v *visit) podsNow(ctx context.Context) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	if v.object != nil {
		v.Pods.Ensure(v.key(), v.session.Namespace, v.kind.Inspect(v.object).Selector)
		var err error
		if pods, err = v.kind.Pods(ctx, v.Live, v.object); err != nil {
			return nil, err
		}
	}
	for _, note := range v.status().OldPods {
		if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.UID == note.UID }) {
			continue
		}
		var pod corev1.Pod
		err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.session.Namespace, Name: note.Name}, &pod)
		if err == nil && pod.UID == note.UID {
			pods = append(pods, pod)
		} else if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading pod %s: %w", note.Name, err)
		}
	}
	return pods, nil
}

// activeJobs are those of a workload that makes jobs.
func (v *visit) activeJobs(ctx context.Context) ([]string, error) {
	maker, ok := v.kind.(hold.JobMaker)
	if !ok || v.object == nil {
		return nil, nil
	}
	return maker.ActiveJobs(ctx, v.Live, v.object)
}

type judgement struct {
	running     []string
	unconfirmed []string
}

// judge finds the pods that are left to wait for.
func (v *visit) judge(ctx context.Context, pods []corev1.Pod) ([]v1alpha1.OldPod, judgement, error) {
	container := v.session.Spec.Target.Container
	var left []v1alpha1.OldPod
	var j judgement
	present := map[types.UID]bool{}
	for i := range pods {
		pod := &pods[i]
		present[pod.UID] = true
		if hold.Ended(pod, container) {
			continue
		}
		left = append(left, hold.Note(pod))
		if doubt, err := v.doubt(ctx, pod); err != nil {
			return nil, j, err
		} else if doubt != "" {
			j.unconfirmed = append(j.unconfirmed, pod.Name+": "+doubt)
		} else {
			j.running = append(j.running, pod.Name)
		}
	}
	for _, note := range v.Pods.Merge(v.key(), v.status().OldPods) {
		if present[note.UID] {
			continue
		}
		if foreign, err := v.foreign(ctx, note); err != nil {
			return nil, j, err
		} else if foreign {
			continue
		}
		node, err := v.node(ctx, note.NodeName)
		if err != nil {
			return nil, j, err
		}
		if doubt := hold.Vanished(note, v.Pods.Last(v.key(), note.UID), container, node); doubt != "" {
			note.Unconfirmed = doubt
			left = append(left, note)
			j.unconfirmed = append(j.unconfirmed, note.Name+": "+doubt)
		}
	}
	return left, j, nil
}

// foreign says of a pod that only the watch has seen, by the workload's labels,
// that it is another workload's: selectors may overlap.
func (v *visit) foreign(ctx context.Context, note v1alpha1.OldPod) (bool, error) {
	noted := slices.ContainsFunc(v.status().OldPods, func(o v1alpha1.OldPod) bool { return o.UID == note.UID })
	controller := v.Pods.Controller(v.key(), note.UID)
	if noted || controller == nil || v.status().Record == nil {
		return false, nil
	}
	ours, err := v.kind.Controls(ctx, v.Live, v.session.Namespace, v.status().Record.UID, *controller)
	return !ours, err
}

// doubt looks at the node of a pod that should have ended by now.
func (v *visit) doubt(ctx context.Context, pod *corev1.Pod) (string, error) {
	if pod.DeletionTimestamp.IsZero() || v.now().Before(pod.DeletionTimestamp.Time) || pod.Spec.NodeName == "" {
		return "", nil
	}
	node, err := v.node(ctx, pod.Spec.NodeName)
	switch {
	case err != nil:
		return "", err
	case node == hold.NodeGone:
		return "its node " + pod.Spec.NodeName + " is gone", nil
	case node == hold.NodeNotReady:
		return "its node " + pod.Spec.NodeName + " is not Ready", nil
	}
	return "", nil
}

// node reads a node, once in a visit: ten pods are often on one.
func (v *visit) node(ctx context.Context, name string) (hold.NodeState, error) {
	if name == "" {
		return hold.NodeReady, nil
	}
	if state, read := v.nodes[name]; read {
		return state, nil
	}
	state, err := v.readNode(ctx, name)
	if err == nil {
		if v.nodes == nil {
			v.nodes = map[string]hold.NodeState{}
		}
		v.nodes[name] = state
	}
	return state, err
}

func (v *visit) readNode(ctx context.Context, name string) (hold.NodeState, error) {
	var node corev1.Node
	err := v.Live.Get(ctx, client.ObjectKey{Name: name}, &node)
	if apierrors.IsNotFound(err) {
		return hold.NodeGone, nil
	}
	if err != nil {
		return hold.NodeNotReady, fmt.Errorf("reading node %s: %w", name, err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return hold.NodeReady, nil
		}
	}
	return hold.NodeNotReady, nil
}

// noteBroken says that a pod ran although the workload was held, and which jobs
// may begin the next one.
func (v *visit) noteBroken(pods []corev1.Pod, jobs []string) {
	ran := v.ranAnyway(pods)
	if len(ran) == 0 {
		return
	}
	told := ""
	if v.is(v1alpha1.ConditionHoldBroken) {
		told = v.condition(v1alpha1.ConditionHoldBroken).Message
	}
	untold := func(name string) bool { return !strings.Contains(told, name) }
	if !slices.ContainsFunc(ran[:min(len(ran), mostNamed)], untold) {
		return
	}
	by := "an unknown writer"
	if v.status().Record != nil && v.status().Record.ChangedBy != "" {
		by = v.status().Record.ChangedBy
	}
	goOn := ""
	if len(jobs) > 0 {
		goOn = "; these of its jobs go on: " + named(jobs, ", ")
	}
	message := fmt.Sprintf("These pods of the held workload ran: %s%s; its number was last written by %s.", named(ran, ", "), goOn, by)
	v.set(v1alpha1.ConditionHoldBroken, metav1.ConditionTrue, v1alpha1.ReasonPodRan, message)
	v.eventOnBoth(corev1.EventTypeWarning, "HoldBroken", "Hold", message)
	v.Metrics.broken()
}

// ranAnyway are the pods that ran after the session was ready, or after what ran
// before was told: when it became ready, and when that was over, every pod had ended.
// One that was first seen before its container ran is among them once it does.
func (v *visit) ranAnyway(pods []corev1.Pod) (names []string) {
	if v.status().ReadyAt == nil || v.status().HeldAt == nil {
		return nil
	}
	held, since := v.status().HeldAt.Truncate(time.Second), v.status().ReadyAt.Time
	if broken := v.condition(v1alpha1.ConditionHoldBroken); broken != nil {
		since = broken.LastTransitionTime.Time
	}
	container := v.session.Spec.Target.Container
	for i := range pods {
		// Those that ended long before are still there sometimes: nobody deletes
		// a pod that was evicted, or a job's. Times of creation are whole seconds.
		created := pods[i].CreationTimestamp.Time
		fresh := created.After(since) || !created.Before(held) && !hold.Ended(&pods[i], container)
		if fresh && hold.Ran(&pods[i], container) {
			names = append(names, pods[i].Name)
		}
	}
	return names
}
