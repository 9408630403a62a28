package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/pending"
)

// askAgain is how often the events of a pending stand-in are looked at, and
// how often one that was refused again after a loss is tried.
const askAgain = 2 * time.Second

// standIn makes the stand-in and waits until the agent in it runs. One that is
// lost is made again under the next number, with a new key.
func standIn(ctx context.Context, v *visit) (bool, error) {
	agent := v.status().Agent
	if agent == nil {
		return v.makeStandIn(ctx, 1)
	}
	pod := &corev1.Pod{}
	err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.session.Namespace, Name: agent.PodName}, pod)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the stand-in: %w", err)
	}
	missing := apierrors.IsNotFound(err)
	switch {
	case missing && agent.PodUID == "":
		// Everything was made ready for it, then we were interrupted.
		return v.makeStandIn(ctx, agent.Incarnation)
	case missing:
		return v.loseStandIn(ctx, "it is gone")
	case !metav1.IsControlledBy(pod, v.session):
		return v.notOurs(ctx, pod, "pod")
	case agent.PodUID != "" && agent.PodUID != pod.UID:
		return v.loseStandIn(ctx, "it was replaced")
	case !pod.DeletionTimestamp.IsZero():
		return v.loseStandIn(ctx, "it was deleted")
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return v.loseStandIn(ctx, "it ended: "+orElse(pod.Status.Message, pod.Status.Reason, string(pod.Status.Phase)))
	}
	return v.awaitStandIn(ctx, pod)
}

// awaitStandIn looks whether the agent runs, and says why not.
func (v *visit) awaitStandIn(ctx context.Context, pod *corev1.Pod) (bool, error) {
	agent := v.status().Agent
	agent.PodUID, agent.NodeName = pod.UID, pod.Spec.NodeName
	if containerRuns(pod, v.agentContainer()) {
		v.status().StandIns = 1
		if !v.is(v1alpha1.ConditionStandInReady) {
			v.event(corev1.EventTypeNormal, "StandInStarted", "StandIn", "The stand-in "+pod.Name+" started.")
		}
		v.set(v1alpha1.ConditionStandInReady, metav1.ConditionTrue, v1alpha1.ReasonDone, "The agent runs in pod "+pod.Name+".")
		return true, nil
	}
	v.status().StandIns = 0
	if why := startFailure(pod, v.agentContainer()); why != "" && v.mayDeliverOtherwise(pod) {
		return v.deliverOtherwise(ctx, why)
	}
	var events corev1.EventList
	if err := v.Live.List(ctx, &events, client.InNamespace(pod.Namespace), client.MatchingFields{"involvedObject.uid": string(pod.UID)}); err != nil {
		return false, fmt.Errorf("listing the events of the stand-in: %w", err)
	}
	why := pending.Reason(pod, events.Items)
	v.set(v1alpha1.ConditionStandInReady, metav1.ConditionFalse, v1alpha1.ReasonStandInPending, why)
	v.waiting(v1alpha1.ReasonStandInPending, "Waiting for the stand-in "+pod.Name+": "+why)
	v.again(askAgain)
	return false, nil
}

// loseStandIn begins the next incarnation after one that was lost.
func (v *visit) loseStandIn(ctx context.Context, why string) (bool, error) {
	message := fmt.Sprintf("The stand-in %s was lost (%s); another is being made.", v.status().Agent.PodName, why)
	if v.is(v1alpha1.ConditionStandInReady) || v.is(v1alpha1.ConditionReady) {
		v.event(corev1.EventTypeWarning, v1alpha1.ReasonStandInLost, "StandIn", message)
		v.Metrics.lost()
	}
	return v.replaceStandIn(ctx, message)
}

// replaceStandIn begins the next incarnation. The old one may still be ending:
// its key is known to nobody's session any more.
func (v *visit) replaceStandIn(ctx context.Context, message string) (bool, error) {
	agent := v.status().Agent
	v.set(v1alpha1.ConditionStandInReady, metav1.ConditionFalse, v1alpha1.ReasonStandInLost, message)
	v.waiting(v1alpha1.ReasonStandInLost, message)
	v.status().StandIns = 0
	// Said, before anything is done, to whoever relies on it.
	if err := v.save(ctx); err != nil {
		return false, err
	}
	ended := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: v.session.Namespace, Name: agent.PodName}}
	if err := v.deletePod(ctx, ended, agent.PodUID); err != nil {
		return false, err
	}
	return v.makeStandIn(ctx, agent.Incarnation+1)
}

// makeStandIn makes the pod of the given number: built and tried before
// anything is made for it.
func (v *visit) makeStandIn(ctx context.Context, number int32) (bool, error) {
	if v.object == nil && !v.targetless() {
		return false, final(v1alpha1.ReasonTargetNotFound, "the target was deleted, and no stand-in can be made without its template")
	}
	in, err := v.tryStandIn(ctx, number)
	var end *finalError
	if errors.As(err, &end) && end.reason == v1alpha1.ReasonStandInRefused && v.status().ReadyAt != nil {
		// The one before may still count against the quota.
		v.set(v1alpha1.ConditionStandInReady, metav1.ConditionFalse, v1alpha1.ReasonStandInPending, end.message)
		v.waiting(v1alpha1.ReasonStandInLost, end.message)
		v.again(askAgain)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if v.scalesDown() && len(in.report.Conflicts) > 0 {
		if proceed, err := v.holdFirst(ctx); !proceed || err != nil {
			return false, err
		}
	}
	if agent := v.status().Agent; agent == nil || agent.Incarnation != number {
		err := v.equip(ctx, in)
		if errors.Is(err, errNumberTaken) {
			return v.makeStandIn(ctx, number+1)
		}
		if err != nil {
			return false, err
		}
	}
	err = v.Writer.Create(ctx, in.pod, client.FieldOwner(hold.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		v.again(0)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("making the stand-in: %w", refused(err))
	}
	return v.awaitStandIn(ctx, in.pod)
}

// holdFirst brings the workload to zero before the stand-in is made, because
// the two cannot run side by side.
func (v *visit) holdFirst(ctx context.Context) (bool, error) {
	if proceed, err := take(ctx, v); !proceed || err != nil {
		return proceed, err
	}
	return oldPods(ctx, v)
}

// tryStandIn builds the pod and has the API server try it, by a dry run: with
// the agent's program as an image volume, then by an init container.
func (v *visit) tryStandIn(ctx context.Context, number int32) (incarnation, error) {
	opts, err := v.cloneOptions(ctx, number)
	if err != nil {
		return incarnation{}, err
	}
	source, err := v.source(ctx, opts)
	if err != nil {
		return incarnation{}, err
	}
	var refusal error
	for _, delivery := range v.deliveries() {
		opts.Delivery = delivery
		pod, report, err := clone.StandIn(source, opts)
		var no *clone.RefusedError
		if errors.As(err, &no) {
			return incarnation{}, final(no.Reason, "%s", no.Message)
		}
		if err != nil {
			return incarnation{}, err
		}
		err = v.Writer.Create(ctx, pod.DeepCopy(), client.DryRunAll, client.FieldOwner(hold.FieldManager))
		if err == nil || apierrors.IsAlreadyExists(err) {
			return incarnation{number: number, pod: pod, report: report, delivery: delivery}, nil
		}
		var end *finalError
		if !errors.As(refused(err), &end) {
			return incarnation{}, fmt.Errorf("trying the stand-in: %w", err)
		}
		// What is said of the init container is what is wrong with the pod
		// itself; of the image volume it may be that volume alone.
		refusal = refused(err)
	}
	return incarnation{}, refusal
}

func (v *visit) cloneOptions(ctx context.Context, number int32) (clone.Options, error) {
	var (
		services corev1.ServiceList
		limits   corev1.LimitRangeList
		claims   corev1.PersistentVolumeClaimList
		policies networkingv1.NetworkPolicyList
		budgets  policyv1.PodDisruptionBudgetList
	)
	for _, list := range []client.ObjectList{&services, &limits, &claims, &policies, &budgets} {
		if err := v.Live.List(ctx, list, client.InNamespace(v.session.Namespace)); err != nil {
			return clone.Options{}, fmt.Errorf("reading what stands around the target: %w", err)
		}
	}
	spec := v.session.Spec
	return clone.Options{
		SessionName: v.session.Name, SessionUID: v.session.UID,
		PodName: podName(v.session.Name, number), SecretName: secretName(v.session.Name, number),
		Container:  v.agentContainer(),
		AgentImage: v.Agent.Image, AgentPullPolicy: v.Agent.PullPolicy,
		TakesTraffic:      v.takesTraffic(),
		ExcludeContainers: spec.ExcludeContainers, ExcludeInitContainers: spec.ExcludeInitContainers,
		Services: services.Items, LimitRanges: limits.Items, Claims: claims.Items,
		Selectors:   clone.SelectorsOf(policies.Items, budgets.Items),
		ListenPorts: spec.ListenPorts, Agent: spec.Agent,
	}, nil
}

func containerRuns(pod *corev1.Pod, container string) bool {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for _, status := range statuses {
			if status.Name == container {
				return status.State.Running != nil
			}
		}
	}
	return false
}

func orElse(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
