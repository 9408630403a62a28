package session

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// final are the reasons of a Ready that is False after which it never becomes
// True, each with what the user can do about it.
var final = map[string]string{
	v1alpha1.ReasonTargetNotFound:        "it was there a moment ago: look with kubectl get deployments",
	v1alpha1.ReasonTargetReplaced:        "it was deleted and made again: start again",
	v1alpha1.ReasonTargetControlled:      "whatever controls it would undo what is done to it",
	v1alpha1.ReasonTargetUnsupported:     "deployments, stateful sets, replica sets, rollouts, cron jobs and jobs work, and custom resources that an administrator named to the chart (workloads.custom)",
	v1alpha1.ReasonHoldRefused:           "a copy beside it can be made all the same: --copy-target without --scale-down",
	v1alpha1.ReasonContainerNotFound:     "choose another with /container/NAME",
	v1alpha1.ReasonHeldByAnother:         "queue behind it with --wait, or talk to its owner; who has the right \"end\" on it may end it: understudy end SESSION --force",
	v1alpha1.ReasonRecordUnreadable:      "an administrator has to look at the workload's annotation " + v1alpha1.ClaimAnnotation,
	v1alpha1.ReasonPolicyMissing:         "the operator refuses to act without the policies that check who may do what; where they are missing an administrator repairs it with helm upgrade; a session that is older than they are is to be started again",
	v1alpha1.ReasonStandInRefused:        "the stand-in is a pod like the target's own, in the same namespace: what refuses it says so above",
	v1alpha1.ReasonTargetEnded:           "start again once there is another pod",
	v1alpha1.ReasonTargetNotAlone:        "start again with --copy-target --scale-down",
	v1alpha1.ReasonFreezeUnsupported:     "hold the workload instead: --copy-target --scale-down",
	v1alpha1.ReasonFreezeFailed:          "hold the workload instead: --copy-target --scale-down",
	v1alpha1.ReasonAttachUnsupported:     "run in a copy beside it, which needs no agent on a node: --copy-target",
	v1alpha1.ReasonAttachFailed:          "run in a copy beside it, which needs no agent on a node: --copy-target",
	v1alpha1.ReasonNodeAgentLost:         "start again",
	v1alpha1.ReasonSetupDeadlineExceeded: "what it waited for is above; where that needs more time, give it with --setup-timeout",
	v1alpha1.ReasonLeaseExpired:          "this machine did not reach the API server for as long as the lease: start again, with a longer --lease where that happens often",
	v1alpha1.ReasonMaxDurationReached:    "start again",
}

// Ended is why a session has ended or is ending by somebody else's will; nil
// while it lives. The error is a *failure.Failure.
func (s State) Ended() error {
	if s.Over != nil {
		return s.Over
	}
	switch ready := meta.FindStatusCondition(s.Session.Status.Conditions, v1alpha1.ConditionReady); {
	case s.Final():
		hint := final[ready.Reason]
		if ready.Reason == v1alpha1.ReasonHeldByAnother && s.Session.Spec.Attaches() {
			hint = onePodEach
		}
		return failure.New(hint, "%s", sentence(ready.Message))
	case s.Deleted():
		return failure.New("start again; who did it is in the API server's audit log", "the session %s was ended from elsewhere", s.Session.Name)
	}
	return nil
}

// onePodEach is what can be done where another session has the pod: there is no
// queue for it.
const onePodEach = "one session has a pod at a time: name another pod, or talk to its owner; who has the right \"end\" on it may end it: understudy end SESSION --force"

// Final says whether the operator has ended the session for a reason of its own.
func (s State) Final() bool {
	ready := meta.FindStatusCondition(s.Session.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return false
	}
	_, ok := final[ready.Reason]
	return ok
}

// Deleted says whether the session is gone or going.
func (s State) Deleted() bool { return s.Gone || s.Session.DeletionTimestamp != nil }

// PickedUp says whether an operator has looked at the session.
func (s State) PickedUp() bool {
	return s.Gone || s.Session.Status.ObservedGeneration != 0 || len(s.Session.Status.Conditions) > 0
}

// Is says whether a condition is True.
func (s State) Is(condition string) bool {
	return !s.Gone && meta.IsStatusConditionTrue(s.Session.Status.Conditions, condition)
}

// Reachable says whether the agent can be connected to: it runs in the stand-in,
// or has frozen the target on its node, or is attached to it.
func (s State) Reachable() bool {
	runs := v1alpha1.ConditionStandInReady
	switch {
	case s.Session.Spec.Takeover == v1alpha1.TakeoverFreeze:
		runs = v1alpha1.ConditionFrozen
	case s.Session.Spec.Attaches():
		runs = v1alpha1.ConditionAttached
	}
	return s.Is(runs) && s.Session.Status.Agent != nil
}

// Message of a condition, as a part of a sentence; empty for one that has not
// been come to.
func (s State) Message(condition string) string {
	c := meta.FindStatusCondition(s.Session.Status.Conditions, condition)
	if c == nil || c.Reason == v1alpha1.ReasonPending {
		return ""
	}
	return sentence(c.Message)
}

// Outcome is what the operator said last of the workload's restoring; empty
// when it did not say that it was done.
func (s State) Outcome() string {
	if !meta.IsStatusConditionTrue(s.Session.Status.Conditions, v1alpha1.ConditionRestored) {
		return ""
	}
	return s.Message(v1alpha1.ConditionRestored)
}

// HeldByAnother says whether the session has ended because another one holds
// the target.
func (s State) HeldByAnother() bool {
	ready := meta.FindStatusCondition(s.Session.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == v1alpha1.ReasonHeldByAnother
}

// Queued is the session's place in the queue for its target; nil when it does
// not wait for that.
func (s State) Queued() *v1alpha1.Queue {
	if s.Gone || s.Session.DeletionTimestamp != nil {
		return nil
	}
	return s.Session.Status.Queue
}

// sentence makes the operator's sentence a part of one of ours: no full stop,
// and no capital but of a word that is all capitals or a name.
func sentence(message string) string {
	message = strings.TrimSuffix(strings.TrimSpace(message), ".")
	first, rest, _ := strings.Cut(message, " ")
	if len(first) > 1 && first[1:] == strings.ToLower(first[1:]) {
		first = strings.ToLower(first)
	}
	return strings.TrimSpace(first + " " + rest)
}

// Step is one part of the way to Ready.
type Step struct {
	// Condition that it is the way to.
	Condition string
	// Doing and Done name it in progress and after it.
	Doing, Done string
}

// Steps are the way of this session to Ready, in the usual order. The target
// is named as the user names it.
func (s State) Steps(target string) []Step {
	steps := []Step{
		{v1alpha1.ConditionStandInReady, "starting the stand-in", "the stand-in runs"},
		{v1alpha1.ConditionReady, "getting ready", "ready"},
	}
	if s.Session.Spec.Targetless() {
		steps[0].Doing, steps[0].Done = "starting an empty pod", "the empty pod runs"
		return steps
	}
	if s.Session.Spec.Attaches() {
		return []Step{
			{v1alpha1.ConditionClaimed, "claiming " + target, "claimed " + target},
			{v1alpha1.ConditionAttached, "attaching to " + target, "attached to " + target},
			{v1alpha1.ConditionReady, "getting ready", target + " goes on running"},
		}
	}
	if s.Session.Spec.Takeover == v1alpha1.TakeoverFreeze {
		return []Step{
			{v1alpha1.ConditionClaimed, "claiming " + target, "claimed " + target},
			{v1alpha1.ConditionFrozen, "freezing " + target, target + " is frozen"},
			{v1alpha1.ConditionReady, "getting ready", target + " takes nothing any more"},
		}
	}
	if s.Session.Spec.Takeover == v1alpha1.TakeoverScaleDown {
		replicas, doing, done := "", "scaling "+target+" to 0", target+" is held at 0"
		if record := s.Session.Status.Record; record != nil {
			replicas = " (1 replica to put back)"
			if record.Replicas != 1 {
				replicas = fmt.Sprintf(" (%d replicas to put back)", record.Replicas)
			}
		}
		// Jobs and CronJobs have no number.
		if s.Session.Spec.Target.Group == "batch" {
			replicas, doing, done = "", "suspending "+target, target+" is suspended"
		}
		steps = []Step{
			{v1alpha1.ConditionClaimed, "claiming " + target, "claimed " + target + replicas},
			steps[0],
			{v1alpha1.ConditionHeld, doing, done},
			{v1alpha1.ConditionReady, "getting ready", "no pod of " + target + " runs any more"},
		}
	}
	return steps
}

// Waits is what the session waits for, in the operator's words; empty when
// there is nothing to say.
func (s State) Waits(condition string) string {
	if s.Unreachable != nil {
		return fmt.Sprintf("the API server cannot be reached (%v)", s.Unreachable)
	}
	if message := s.Message(condition); message != "" {
		return message
	}
	return s.Message(v1alpha1.ConditionReady)
}
