package session

import "understudy.dev/understudy/operator/api/v1alpha1"

// A session that attaches has the lists of one that freezes (freeze.go): the same
// record, lock, agent and proof, but the agent freezes nothing and refuses nobody.
// What is undone is what it has in the network of the pod.
func (v *visit) attaches() bool { return v.session.Spec.Attaches() }

// grip is what a session on a node says of what it does to the container.
type grip struct {
	// condition is True while the agent has it.
	condition string
	// unsupported, failed, undoing and undone are reasons.
	unsupported, failed, undoing, undone string
	// event and action of the beginning; eventEnd and actionEnd of the end.
	event, action, eventEnd, actionEnd string
	// The sentences; container and node are filled in.
	refusal, recorded, pending, begun, ready, ended, lost, over string
}

var freezing = grip{
	condition:   v1alpha1.ConditionFrozen,
	unsupported: v1alpha1.ReasonFreezeUnsupported, failed: v1alpha1.ReasonFreezeFailed,
	undoing: v1alpha1.ReasonThawing, undone: v1alpha1.ReasonThawed,
	event: "Frozen", action: "Freeze", eventEnd: "Thawed", actionEnd: "Thaw",
	refusal:  "pod %s cannot be frozen: %s",
	recorded: "Container %s on node %s is to be thawed.",
	pending:  "it has not said yet that the container is frozen.",
	begun:    "Froze container %s.",
	ready:    "The kernel of node %s has confirmed that the container is frozen.",
	ended:    "Thawed container %s.",
	lost:     "the agent on node %s has ended; whether the container is thawed is being looked at: %s",
	over:     "The container runs on where it stood: %s.",
}

var attaching = grip{
	condition:   v1alpha1.ConditionAttached,
	unsupported: v1alpha1.ReasonAttachUnsupported, failed: v1alpha1.ReasonAttachFailed,
	undoing: v1alpha1.ReasonLettingGo, undone: v1alpha1.ReasonLetGo,
	event: "Attached", action: "Attach", eventEnd: "LetGo", actionEnd: "LetGo",
	refusal:  "pod %s cannot be attached to: %s",
	recorded: "Container %s on node %s goes on running.",
	pending:  "it has not said yet that it is attached.",
	begun:    "Attached to container %s.",
	ready:    "The agent on node %s is in the pod's network.",
	ended:    "Let go of container %s.",
	lost:     "the agent on node %s has ended; whether the pod has its ports back is being looked at: %s",
	over:     "The pod has all of its ports again: %s.",
}

// grip of this session.
func (v *visit) grip() grip {
	if v.attaches() {
		return attaching
	}
	return freezing
}
