package session

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// thaw ends the agent, which thaws, and waits for the proof. Where the agent
// could not give it, another one is made that does nothing else.
func thaw(ctx context.Context, v *visit) (bool, error) {
	if v.is(v1alpha1.ConditionRestored) {
		return true, nil
	}
	frozen, grip := v.status().Frozen, v.grip()
	if frozen == nil {
		v.set(grip.condition, metav1.ConditionFalse, v1alpha1.ReasonNotNeeded, "Nothing was done to the target.")
		v.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, v1alpha1.ReasonNotNeeded, "Nothing was done to the target.")
		return true, nil
	}
	began := v.condition(v1alpha1.ConditionReady).LastTransitionTime.Time
	t := &thawing{
		Reconciler: v.Reconciler, namespace: v.AgentsNamespace, session: v.key(), uid: v.session.UID, pod: frozen.UID, node: frozen.NodeName,
		proof: frozen.Thawed, silentAt: began.Add(v.leaseDuration() + agentMargin),
		prove: func(ctx context.Context, proof string) error {
			frozen.Thawed = proof
			v.set(grip.condition, metav1.ConditionFalse, grip.undone, fmt.Sprintf(grip.over, proof))
			return v.save(ctx)
		},
	}
	if agent := v.status().Agent; agent != nil {
		// Where it was made, should another namespace have been chosen since.
		t.made, t.namespace = agent.Incarnation, agent.Namespace
	}
	waiting, err := t.run(ctx)
	if err != nil {
		return false, err
	}
	if waiting != "" {
		message := "Waiting for " + waiting + "."
		if t.rejected != "" && !v.says(v1alpha1.ConditionRestored, message) {
			v.eventOnBoth(corev1.EventTypeWarning, grip.actionEnd+"Delayed", grip.actionEnd, fmt.Sprintf("Node %s did not let an agent run that was to look whether all is undone: %s.", t.node, t.rejected))
		}
		v.set(grip.condition, metav1.ConditionUnknown, grip.undoing, message)
		v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, grip.undoing, message)
		v.again(t.lookAgain())
		return false, nil
	}
	if t.doubtful {
		v.eventOnBoth(corev1.EventTypeWarning, grip.actionEnd+"Unconfirmed", grip.actionEnd, "The end was not seen on the node: "+frozen.Thawed+".")
	} else if frozen.FrozenAt != nil {
		v.eventOnBoth(corev1.EventTypeNormal, grip.eventEnd, grip.actionEnd, fmt.Sprintf(grip.ended, v.session.Spec.Target.Container))
	}
	v.set(v1alpha1.ConditionClaimed, metav1.ConditionFalse, grip.undone, "The pod is nobody's.")
	v.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, grip.undone, fmt.Sprintf(grip.over, frozen.Thawed))
	v.Pods.Stop(v.key())
	return true, v.save(ctx)
}

// lookAgain is when there may be something to do.
func (t *thawing) lookAgain() time.Duration {
	if t.rejected != "" {
		return t.next
	}
	return thawEvery
}

// thawEvery is how often a thaw in progress is looked at, beside the watch.
const thawEvery = time.Second
