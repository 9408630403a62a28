package plan

import (
	"errors"
	"fmt"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/clone"
)

// impossible is why no stand-in can be made of the target at all.
func impossible(w *World) []Finding {
	var refused *clone.RefusedError
	switch {
	case w.impossible == nil:
		return nil
	case errors.As(w.impossible, &refused):
		return []Finding{{StandInImpossible, Blocks, refused.Message, ""}}
	}
	return []Finding{{StandInImpossible, Blocks, fmt.Sprintf("no stand-in can be made: %v", w.impossible), ""}}
}

// trial is what the API server said of the stand-in.
func trial(w *World) []Finding {
	switch {
	case w.Trial.Refused != "":
		return []Finding{{AdmissionDenied, Blocks, "the API server would not take the stand-in: " + w.Trial.Refused,
			"it was tried as you, by a dry run; in a session the operator tries it with its own account, before it touches anything"}}
	case w.Trial.Untried != "" && w.standIn != nil:
		return []Finding{{AdmissionUntried, Notes, "admission was not asked whether it takes the stand-in (" + w.Trial.Untried + ")",
			"the operator asks, by a dry run, before it touches anything, and ends the session where it is refused"}}
	}
	return nil
}

// sessionTrial is what the API server said of the session.
func sessionTrial(w *World) []Finding {
	switch {
	case w.SessionTrial.Refused != "":
		return []Finding{{SessionRefused, Blocks, "the API server would not take the session: " + w.SessionTrial.Refused, ""}}
	case w.SessionTrial.Untried != "":
		return []Finding{{AdmissionUntried, Notes, "the API server was not asked whether it takes the session (" + w.SessionTrial.Untried + ")", "exec asks before anything is touched"}}
	}
	return nil
}

// holdTrial is what the API server said of the target at zero.
func holdTrial(w *World) []Finding {
	switch {
	case w.HoldTrial.Refused != "":
		return []Finding{{HoldDenied, Blocks, fmt.Sprintf("the API server would not take %s at zero: %s", w.Target, w.HoldTrial.Refused),
			"it was tried as you, by a dry run; in a session the operator writes it with its own account"}}
	case w.HoldTrial.Untried != "":
		return []Finding{{HoldUntried, Notes, fmt.Sprintf("admission was not asked whether it takes %s at zero (%s)", w.Target, w.HoldTrial.Untried),
			"the operator asks during the set-up, and says what refuses it"}}
	}
	return nil
}

// differs is in what the stand-in is not as the target's own pods are.
func differs(w *World) []Finding {
	var found []Finding
	for _, note := range w.report.Notes {
		found = append(found, Finding{StandInDiffers, Notes, note, ""})
	}
	return found
}

// sideBySide is for what the target's own pods have and only one pod, or one
// node, can have.
func sideBySide(w *World) []Finding {
	var found []Finding
	for _, conflict := range w.report.Conflicts {
		switch {
		case w.scalesDown():
			found = append(found, Finding{NotSideBySide, Warns,
				fmt.Sprintf("%s: the target is brought to zero before the stand-in is made, so that for a moment neither runs", conflict.Message), ""})
		case conflict.Certain:
			found = append(found, Finding{NotSideBySide, Blocks,
				fmt.Sprintf("the stand-in cannot run beside the target: %s", conflict.Message), "hold the target meanwhile: --scale-down"})
		default:
			found = append(found, Finding{NotSideBySide, Warns,
				fmt.Sprintf("the stand-in may find no node beside the target: %s", conflict.Message), "hold the target meanwhile: --scale-down"})
		}
	}
	return found
}

// granted says of the one right that nobody has beforehand that it is given.
func granted(w *World) []Finding {
	what := "the stand-in"
	switch {
	case w.Takeover == config.TakeoverFreeze, w.attaches():
		what = "the agent on the node"
	case w.Target.None():
		what = "the empty pod"
	}
	return []Finding{{PortForwardGranted, Notes, "the right to port-forward to " + what + ", to that one pod alone, is given to you when it is made, and goes with it", ""}}
}
