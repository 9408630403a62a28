package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// holder is who has the target, or a copy of it, already.
func holder(w *World) []Finding {
	if w.Target.None() {
		return nil
	}
	var found []Finding
	held, waiting := false, 0
	for i := range w.Sessions.Items {
		s := &w.Sessions.Items[i]
		if !w.same(s.Spec.Target.UID) && !w.holdsName(s) {
			continue
		}
		account, who, over := session.Tell(s), who(s), over(s)
		switch {
		case over != "" && (meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionRestored) || !account.Holds && !w.takenPod(s)):
			// It is kept to be read, and has nothing of the target.
		case s.Status.Queue != nil:
			waiting++
		case w.takenPod(s):
			held = true
			found = append(found, w.heldBy(who, s.CreationTimestamp.UTC().Format(time.RFC3339), s.Name+over))
		case !account.Holds:
			found = append(found, Finding{Beside, Notes, fmt.Sprintf("%s has a session beside it (%s, %s), since %s", who, s.Name, account.Mode, s.CreationTimestamp.UTC().Format(time.RFC3339)), ""})
		case !w.holds():
			found = append(found, Finding{Beside, Notes, fmt.Sprintf("%s keeps it from reading (session %s), since %s", who, s.Name, s.CreationTimestamp.UTC().Format(time.RFC3339)), ""})
		default:
			held = true
			found = append(found, w.heldBy(who, s.CreationTimestamp.UTC().Format(time.RFC3339), s.Name+over))
		}
	}
	if waiting > 0 && held {
		others := fmt.Sprintf("%d others wait", waiting)
		if waiting == 1 {
			others = "1 other waits"
		}
		found = append(found, Finding{Beside, Notes, others + " for it already, and would have it before you", ""})
	}
	if claim := w.claim(); claim != nil && !held && w.holds() {
		found = append(found, w.claimed(claim))
	}
	return found
}

// over says of a session that lives no more how it came to that; empty while it
// lives.
func over(s *v1alpha1.Session) string {
	switch state := (session.State{Session: s}); {
	case state.Final():
		return fmt.Sprintf(", which has ended (%s) and is being undone", session.Tell(s).Reason)
	case state.Deleted():
		return ", which is ending and being undone"
	}
	return ""
}

// takenPod says whether a session has the pod that this one would have: an agent
// on its node is there for one.
func (w *World) takenPod(s *v1alpha1.Session) bool {
	return (w.freezes() || w.attaches()) && s.Spec.Target.UID == w.Target.UID &&
		(s.Spec.Takeover == v1alpha1.TakeoverFreeze || s.Spec.Attaches()) && meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionClaimed)
}

// heldBy is what it means that somebody holds the target.
func (w *World) heldBy(who, since, name string) Finding {
	says := fmt.Sprintf("%s is held by %s since %s (session %s)", w.Target, who, since, name)
	if w.Asked != nil && w.Asked.Wait && w.scalesDown() {
		return Finding{Held, Warns, says + ": yours would wait for its turn", ""}
	}
	do := "wait for it with --wait, or ask them"
	if !w.scalesDown() {
		do = "ask them"
	}
	return Finding{Held, Blocks, says, do}
}

// claimed is for a claim whose session is not to be seen.
func (w *World) claimed(claim *v1alpha1.Claim) Finding {
	if w.Sessions.Not != "" {
		return w.heldBy(claim.Owner, claim.Since, claim.Name)
	}
	return Finding{ClaimLeft, Warns, fmt.Sprintf("%s bears the claim of session %s of %s, which is gone: the operator puts it back first, to %d replicas",
		w.Target, claim.Name, claim.Owner, claim.Replicas), ""}
}

// claim is the one on the target; nil for none, and for one that came with a
// copy of another object.
func (w *World) claim() *v1alpha1.Claim {
	if w.Target.Object == nil {
		return nil
	}
	text, is := w.Target.Object.GetAnnotations()[v1alpha1.ClaimAnnotation]
	if !is {
		return nil
	}
	claim, err := v1alpha1.ParseClaim(text)
	if err != nil || claim.Workload != w.Target.UID {
		return nil
	}
	return &claim
}

// claimUnreadable says whether the target is at zero with a claim that does not say
// what it was before.
func (w *World) claimUnreadable() bool {
	if w.Target.Object == nil || w.Target.Replicas != 0 {
		return false
	}
	text, is := w.Target.Object.GetAnnotations()[v1alpha1.ClaimAnnotation]
	_, err := v1alpha1.ParseClaim(text)
	return is && err != nil
}

// same says whether another session's target is this one, or a part of it.
func (w *World) same(uid types.UID) bool {
	if uid == w.Target.UID {
		return true
	}
	for i := range w.Workloads.Items {
		l := &w.Workloads.Items[i]
		if l.UID == w.Target.UID && slices.Contains(l.Pods, uid) || l.UID == uid && slices.Contains(l.Pods, w.Target.UID) {
			return true
		}
	}
	return false
}

// holdsName says whether a session holds whatever has the target's name, so that one
// which was made anew under it is held too.
func (w *World) holdsName(s *v1alpha1.Session) bool {
	return s.Spec.Takeover == v1alpha1.TakeoverScaleDown && s.Spec.Target.Names(w.Target.Target)
}

func who(s *v1alpha1.Session) string {
	host := strings.TrimSpace(s.Spec.Owner.Hostname)
	if host == "" {
		return s.Spec.Owner.Username
	}
	return s.Spec.Owner.Username + " (on " + host + ")"
}
