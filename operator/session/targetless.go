package session

import (
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
)

// setUpTargetless is the list of a session without a target: what there is to
// do for a stand-in, in an empty pod, and nothing that looks at a workload. Its
// undoing is that of every stand-in.
var setUpTargetless = []step{
	{"limits", limits},
	{"policy", policy},
	{"enlist", enlist},
	{"lease", lease},
	{"stand-in", standIn},
	{"ready", ready},
}

// targetlessConditions are those that it comes to.
var targetlessConditions = []string{
	v1alpha1.ConditionStandInReady, v1alpha1.ConditionReady, v1alpha1.ConditionRestored,
}

func (v *visit) targetless() bool { return v.session.Spec.Targetless() }

// agentContainer is the container of the stand-in that the agent is in.
func (v *visit) agentContainer() string {
	if v.targetless() {
		return clone.EmptyContainer
	}
	return v.session.Spec.Target.Container
}
