package plan

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/standing"
)

// kind is whether there is anything of the target that can be held.
func kind(w *World) []Finding {
	if !w.scalesDown() {
		return nil
	}
	if err := w.Target.CanBeHeld(); err != nil {
		return []Finding{blockedBy(KindNotHeld, err)}
	}
	return nil
}

// unlisted is whether the operator was given rights on the target's kind.
func unlisted(w *World) []Finding {
	if err := w.Operator.MayTouch(w.Target.Target); err != nil {
		return []Finding{blockedBy(KindNotListed, err)}
	}
	return nil
}

// refusal is what the target itself says against being held as it is now.
func refusal(w *World) []Finding {
	if !w.scalesDown() {
		return nil
	}
	if w.claimUnreadable() {
		return []Finding{{HoldRefused, Blocks, fmt.Sprintf("%s is at 0 replicas, and the claim on it, which says what it had before, cannot be read", w.Target),
			"set its number by hand and take the annotation " + v1alpha1.ClaimAnnotation + " off"}}
	}
	if says := w.standing().refusal; says != "" {
		return []Finding{{HoldRefused, Blocks, fmt.Sprintf("%s cannot be held: %s", w.Target, says), "a copy beside it can be taken all the same: --copy-target without --scale-down"}}
	}
	return nil
}

// restarts is what a hold would make the target lose, which its owner has to
// have agreed to.
func restarts(w *World) []Finding {
	if !w.scalesDown() {
		return nil
	}
	loses := w.standing().restarts
	switch {
	case loses == "":
		return nil
	case w.Asked != nil && w.Asked.RestartOK:
		return []Finding{{RestartNeeded, Warns, loses, ""}}
	}
	return []Finding{{RestartNeeded, Blocks, fmt.Sprintf("%s is not held without its owner's word: %s", w.Target, loses), "allow it with --restart-ok"}}
}

// rollout is what a hold would wait for first.
func rollout(w *World) []Finding {
	if !w.scalesDown() {
		return nil
	}
	s := w.standing()
	if s.rollout == "" || s.refusal != "" || s.resume != "" {
		return nil
	}
	return []Finding{{RolloutInProgress, Warns, fmt.Sprintf("a rollout of %s is waited for first: %s", w.Target, s.rollout), ""}}
}

// pausedRollout is for a rollout that has no end: the operator waits for it until
// the set-up has taken too long. Who queues behind others has time to resume it.
func pausedRollout(w *World) []Finding {
	if !w.scalesDown() {
		return nil
	}
	s := w.standing()
	if s.resume == "" {
		return nil
	}
	severity := Blocks
	if w.Asked != nil && w.Asked.Wait {
		severity = Warns
	}
	what, _, _ := strings.Cut(s.rollout, ";")
	return []Finding{{RolloutPaused, severity, fmt.Sprintf("a rollout of %s is paused, and would be waited for in vain: %s", w.Target, what),
		"resume it: " + s.resume + "\nor take a copy beside it: --copy-target without --scale-down"}}
}

// zero is for a target that has nothing to be held.
func zero(w *World) []Finding {
	if !w.scalesDown() || w.Target.Replicas != 0 || w.Target.NotHeld != "" || w.claim() != nil || w.claimUnreadable() {
		return nil
	}
	if w.Target.Group == batchv1.GroupName {
		return []Finding{{AlreadyAtZero, Notes, fmt.Sprintf("%s is suspended already, is kept so, and stays so afterwards", w.Target), ""}}
	}
	return []Finding{{AlreadyAtZero, Notes, fmt.Sprintf("%s is at 0 replicas already, is kept there, and stays there afterwards", w.Target), ""}}
}

// stand is how the target stands towards being held.
type stand struct {
	refusal, rollout, restarts string
	// resume is what ends a rollout that does not end by itself; empty for nothing.
	resume string
}

func (w *World) standing() stand {
	switch w.Target.Group + "/" + w.Target.Resource {
	case "apps/deployments":
		if d := (&appsv1.Deployment{}); w.into(d) {
			s := stand{rollout: standing.DeploymentRollout(d)}
			if standing.DeploymentPaused(d) {
				s.resume = standing.Resume(d)
			}
			return s
		}
	case "apps/statefulsets":
		if s := w.statefulSet(); s != nil {
			return stand{refusal: standing.StatefulSetRefusal(s), rollout: standing.StatefulSetRollout(s)}
		}
	case "batch/jobs":
		if j := (&batchv1.Job{}); w.into(j) {
			s := stand{refusal: standing.JobRefusal(j)}
			if w.Target.Replicas != 0 && s.refusal == "" {
				s.restarts = standing.Restarts
			}
			return s
		}
	case "argoproj.io/rollouts":
		if w.Target.Object != nil {
			return stand{refusal: standing.RolloutRefusal(w.Target.Object), rollout: standing.RolloutUnseen(w.Target.Object)}
		}
	}
	return stand{}
}
