package session

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Account is what a person is told of a session.
type Account struct {
	// Target as a person names it: "deployment/worker"; empty for none.
	Target string
	// Mode is "copy", "scale-down", "freeze", "attach", or "none" without a target.
	Mode string
	// Ready says whether the local process may run; where not, Reason is the
	// condition's, and Message the operator's own words.
	Ready           bool
	Reason, Message string
	// Holds says whether the target is kept from consuming at this moment, or is
	// claimed to be.
	Holds bool
	// AtEnd is what happens to the target when the session ends.
	AtEnd string
}

// Tell gives an account of a session.
func Tell(s *v1alpha1.Session) Account {
	of := s.Spec.Target
	a := Account{
		Mode: modes[s.Spec.Takeover], Reason: v1alpha1.ReasonPending, Message: "no operator has looked at it yet",
	}
	if !s.Spec.Targetless() {
		a.Target = target.Ref{Group: of.Group, Resource: of.Resource, Name: of.Name}.String()
	}
	if s.Spec.Attaches() {
		a.Mode = "attach"
	}
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		a.Ready, a.Reason, a.Message = ready.Status == metav1.ConditionTrue, ready.Reason, sentence(ready.Message)
	}
	if s.DeletionTimestamp != nil {
		a.Ready, a.Reason = false, v1alpha1.ReasonEnding
		if restored := (State{Session: s}).Message(v1alpha1.ConditionRestored); restored != "" {
			a.Message = restored
		}
	}
	a.Holds = slices.ContainsFunc([]string{v1alpha1.ConditionClaimed, v1alpha1.ConditionHeld, v1alpha1.ConditionFrozen}, func(condition string) bool {
		return meta.IsStatusConditionTrue(s.Status.Conditions, condition)
	}) && s.Spec.Takeover != v1alpha1.TakeoverCopy && s.Spec.Takeover != v1alpha1.TakeoverNone
	a.AtEnd = atEnd(s, a)
	return a
}

var modes = map[v1alpha1.Takeover]string{
	v1alpha1.TakeoverCopy: "copy", v1alpha1.TakeoverScaleDown: "scale-down", v1alpha1.TakeoverFreeze: "freeze",
	v1alpha1.TakeoverNone: "none",
}

func atEnd(s *v1alpha1.Session, a Account) string {
	record := s.Status.Record
	switch {
	case meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionRestored):
		return "nothing is left to be undone"
	case s.Spec.Attaches():
		return "the agent goes, and " + a.Target + " has all of its ports again"
	case s.Spec.Takeover == v1alpha1.TakeoverNone:
		return "the empty pod goes, and nothing else was touched"
	case s.Spec.Takeover == v1alpha1.TakeoverCopy:
		return "the stand-in goes, and nothing else was touched"
	case s.Spec.Takeover == v1alpha1.TakeoverFreeze && s.Status.Frozen == nil, s.Spec.Takeover == v1alpha1.TakeoverScaleDown && record == nil:
		return "nothing of " + a.Target + " has been touched yet"
	case s.Spec.Takeover == v1alpha1.TakeoverFreeze:
		return a.Target + " is thawed"
	case s.Spec.Target.Group == "batch" && record.Replicas == 0:
		return a.Target + " stays suspended, as it was"
	case s.Spec.Target.Group == "batch":
		return a.Target + " goes on, not suspended any more"
	}
	text := fmt.Sprintf("%s goes back to %d replicas", a.Target, record.Replicas)
	if record.Replicas == 1 {
		text = a.Target + " goes back to 1 replica"
	}
	if n := len(record.Autoscalers); n > 0 {
		var names []string
		for _, scaler := range record.Autoscalers {
			names = append(names, schema.GroupResource{Group: scaler.Group, Resource: scaler.Resource}.String()+"/"+scaler.Name)
		}
		text += ", and what scales it goes on: " + strings.Join(names, ", ")
	}
	return text
}
