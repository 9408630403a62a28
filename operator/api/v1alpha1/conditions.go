package v1alpha1

// The conditions of a Session. Each is Unknown until the operator came to it.
const (
	// ConditionRecorded is True when the replicas to put back are in the
	// status, written before anything was done to the workload.
	ConditionRecorded = "Recorded"
	// ConditionClaimed is True while the workload bears this session's
	// annotation, the second copy of the memory and the lock.
	ConditionClaimed = "Claimed"
	// ConditionStandInReady is True while the agent in the stand-in runs.
	ConditionStandInReady = "StandInReady"
	// ConditionHeld is True while this session keeps the workload at zero.
	ConditionHeld = "Held"
	// ConditionFrozen is True while the kernel has confirmed that the target
	// container is frozen, and the agent on its node keeps it so.
	ConditionFrozen = "Frozen"
	// ConditionAttached is True while the agent on its node is in the network of a
	// pod that goes on running.
	ConditionAttached = "Attached"
	// ConditionReady is True while the remote side takes no message and the
	// stand-in is there to be used.
	ConditionReady = "Ready"
	// ConditionRestored is True when the workload is as it was before the
	// session, and False with a reason while that is being done.
	ConditionRestored = "Restored"
	// ConditionContended is True when somebody else wrote the number of the held
	// workload; the message names them and says what keeps them from it.
	ConditionContended = "Contended"
	// ConditionHoldBroken is True when a pod of the held workload ran although
	// it was held; the message names it and who wrote the number.
	ConditionHoldBroken = "HoldBroken"
)

// Reasons of conditions. A reason never changes its meaning.
const (
	// ReasonPending: not come to yet.
	ReasonPending = "Pending"
	// ReasonDone: as asked.
	ReasonDone = "Done"
	// ReasonNotNeeded: this takeover has no such step.
	ReasonNotNeeded = "NotNeeded"
	// ReasonTargetNotFound: no object of that name (final).
	ReasonTargetNotFound = "TargetNotFound"
	// ReasonTargetReplaced: the object of that name has another UID (final
	// before the hold).
	ReasonTargetReplaced = "TargetReplaced"
	// ReasonTargetControlled: the target is itself controlled by something
	// else, which the message names (final).
	ReasonTargetControlled = "TargetControlled"
	// ReasonTargetUnsupported: this kind cannot be held (final), or not be put back
	// by an operator that was not told of it.
	ReasonTargetUnsupported = "TargetUnsupported"
	// ReasonHoldRefused: this object cannot be held as it is now, or not without
	// its owner's word; the message has why and what to do (final).
	ReasonHoldRefused = "HoldRefused"
	// ReasonContainerNotFound: the pods have no such container (final).
	ReasonContainerNotFound = "ContainerNotFound"
	// ReasonHeldByAnother: another session has claimed the workload; the
	// message names its owner and since when (final).
	ReasonHeldByAnother = "HeldByAnother"
	// ReasonQueued: waiting for the sessions that were before this one; the
	// message names who holds the target, since when, and the place.
	ReasonQueued = "Queued"
	// ReasonRecordUnreadable: the memory on the workload cannot be read.
	ReasonRecordUnreadable = "RecordUnreadable"
	// ReasonPolicyMissing: the admission policies that make the operator safe
	// are not installed (final).
	ReasonPolicyMissing = "PolicyMissing"
	// ReasonRolloutInProgress: waiting for the workload's rollout to end.
	ReasonRolloutInProgress = "RolloutInProgress"
	// ReasonAutoscalerPausing: waiting for what scales the workload to pause.
	ReasonAutoscalerPausing = "AutoscalerPausing"
	// ReasonStandInRefused: the API server refused the stand-in, by quota,
	// Pod Security or another admission (final).
	ReasonStandInRefused = "StandInRefused"
	// ReasonStandInPending: the stand-in is not running yet; the message has
	// the scheduler's or the kubelet's own reason.
	ReasonStandInPending = "StandInPending"
	// ReasonStandInLost: the stand-in went; another is being made.
	ReasonStandInLost = "StandInLost"
	// ReasonImageVolumeFailed: the agent did not start from an image volume; it
	// is tried with an init container. It is an event's reason.
	ReasonImageVolumeFailed = "ImageVolumeFailed"
	// ReasonRefused: the API server refuses what is to be done next, by a policy, a
	// webhook or for want of a right; the message has its words. It is tried again.
	ReasonRefused = "Refused"
	// ReasonStandInEnding: waiting for the stand-in's containers to end before
	// the workload is put back.
	ReasonStandInEnding = "StandInEnding"
	// ReasonRewritten: the number was written by somebody else.
	ReasonRewritten = "Rewritten"
	// ReasonPodRan: a pod of the held workload ran.
	ReasonPodRan = "PodRan"
	// ReasonOldPodsRunning: waiting for the pods of the workload to end, or for
	// jobs that may begin another one; the message names them.
	ReasonOldPodsRunning = "OldPodsRunning"
	// ReasonOldPodUnconfirmed: a pod of the workload is gone or unreachable
	// without proof that its containers ended; the message names it.
	ReasonOldPodUnconfirmed = "OldPodUnconfirmed"
	// ReasonTargetNotRunning: waiting for the container to run; nothing that does
	// not run is frozen.
	ReasonTargetNotRunning = "TargetNotRunning"
	// ReasonTargetEnded: the pod that was frozen is being deleted, or has ended
	// (final).
	ReasonTargetEnded = "TargetEnded"
	// ReasonTargetNotAlone: the pod that was frozen was the only one of its workload,
	// and no longer is; the message names the other and who made it so (final).
	ReasonTargetNotAlone = "TargetNotAlone"
	// ReasonFreezeUnsupported: this pod would not survive being frozen, or
	// cannot be reached; the message says why (final).
	ReasonFreezeUnsupported = "FreezeUnsupported"
	// ReasonFreezeFailed: the agent on the node could not freeze the container;
	// the message has its reason (final).
	ReasonFreezeFailed = "FreezeFailed"
	// ReasonNodeAgentPending: the agent on the target's node does not run yet,
	// or has not frozen the container yet.
	ReasonNodeAgentPending = "NodeAgentPending"
	// ReasonNodeAgentLost: the agent on the target's node ended, and the target
	// was thawed with it (final).
	ReasonNodeAgentLost = "NodeAgentLost"
	// ReasonLettingGo: waiting for the proof that nothing of the session is left in
	// the network of the pod.
	ReasonLettingGo = "LettingGo"
	// ReasonLetGo: nothing of the session is left in the network of the pod.
	ReasonLetGo = "LetGo"
	// ReasonAttachUnsupported: no agent can be in this pod's network; the message
	// says why (final).
	ReasonAttachUnsupported = "AttachUnsupported"
	// ReasonAttachFailed: the agent on the node could not attach; the message has
	// its reason (final).
	ReasonAttachFailed = "AttachFailed"
	// ReasonThawing: waiting for the proof that the container is thawed.
	ReasonThawing = "Thawing"
	// ReasonThawed: the container is thawed.
	ReasonThawed = "Thawed"
	// ReasonSetupDeadlineExceeded: it did not become Ready in time; the
	// message has the reason of the step that it was waiting for (final).
	ReasonSetupDeadlineExceeded = "SetupDeadlineExceeded"
	// ReasonLeaseExpired: the owner's machine was not heard of (final).
	ReasonLeaseExpired = "LeaseExpired"
	// ReasonMaxDurationReached: the session's time is over (final).
	ReasonMaxDurationReached = "MaxDurationReached"
	// ReasonEnding: the session was deleted and is being undone.
	ReasonEnding = "Ending"
	// ReasonRestoring: the workload is being put back.
	ReasonRestoring = "Restoring"
	// ReasonRestored: the workload is as it was.
	ReasonRestored = "Restored"
	// ReasonNotFollowed: the number is back, and the workload's controller was not seen
	// to act on it; the sweep goes on to look at it.
	ReasonNotFollowed = "NotFollowed"
	// ReasonWorkloadGone: the workload was deleted; there is nothing to put
	// back.
	ReasonWorkloadGone = "WorkloadGone"
)

// Names that both sides and the chart know.
const (
	// Finalizer is on a Session only while something of it is held.
	Finalizer = "understudy.dev/restore"
	// ClaimAnnotation on a held workload is one JSON value: see the operator's
	// claim.
	ClaimAnnotation = "understudy.dev/claim"
	// NudgeAnnotation on a ReplicaSet makes its controller look at it again; it is
	// taken off once that has acted.
	NudgeAnnotation = "understudy.dev/nudge"
	// OperatorImageAnnotation on the policy is the image that the chart has the
	// operator run: the command line tool prints it.
	OperatorImageAnnotation = "understudy.dev/operator-image"
	// AgentImageAnnotation on the policy is the image that stand-ins get the agent
	// from: the command line tool has the API server try it.
	AgentImageAnnotation = "understudy.dev/agent-image"
	// OperatorNamespaceAnnotation on the policy is where the operator runs: the
	// command line tool looks there for whether it does.
	OperatorNamespaceAnnotation = "understudy.dev/operator-namespace"
	// OperatorWorkloadsAnnotation on the policy names what the chart lets the operator
	// touch beside Kubernetes' own workloads, "rollouts.argoproj.io,..."; a chart from
	// before it says nothing.
	OperatorWorkloadsAnnotation = "understudy.dev/operator-workloads"
	// FreezerAnnotation on a Node says in which of the kernel's hierarchies its
	// containers are frozen, "v1" or "v2", where they are in both. Without it that
	// is v2.
	FreezerAnnotation = "understudy.dev/freezer"
	// SessionLabel on everything that is made for a session bears its name.
	SessionLabel = "understudy.dev/session"
	// SessionNamespaceLabel and SessionUIDLabel are on what is made for a session
	// in another namespace than its own, where an owner reference cannot reach.
	SessionNamespaceLabel = "understudy.dev/session-namespace"
	SessionUIDLabel       = "understudy.dev/session-uid"
	// AgentFinalizer keeps the pod of an agent on a node until the operator has
	// read how it ended.
	AgentFinalizer = "understudy.dev/thaw"
	// AgentPort is the port on the stand-in's loopback that the agent listens
	// on, unless the target's own containers use it.
	AgentPort = 7447
)
