package session

import (
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// isRefusal says whether an error is the API server's no, which a person has to
// see and often to answer: of a policy, of a webhook or of one that cannot be
// reached, of the operator's own rights; also where it takes what is written and makes
// another number of it. What passes by itself is none: conflicts,
// an API server that is busy or away.
func isRefusal(err error) bool {
	var answer apierrors.APIStatus
	switch {
	case hold.IsRemade(err):
		return true
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err):
		return true
	case errors.As(err, &answer):
		return strings.Contains(answer.Status().Message, "webhook")
	}
	return false
}

// notRetired begins what is said of a session that cannot be let go.
const notRetired = " What was made for the session is not yet all away, which is tried again: "

// refused says what the API server refuses, in its words: of a session that is
// being undone in Restored, of another one in Ready. It is tried again and again,
// and said once.
func (v *visit) refused(err error) {
	if !isRefusal(err) {
		return
	}
	if restored := v.condition(v1alpha1.ConditionRestored); restored.Status == metav1.ConditionTrue {
		// The workload is back, which stays the first thing that is said.
		was, _, _ := strings.Cut(restored.Message, notRetired)
		message := was + notRetired + err.Error() + "."
		if !v.says(v1alpha1.ConditionRestored, message) {
			v.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, restored.Reason, message)
			v.event(corev1.EventTypeWarning, v1alpha1.ReasonRefused, "Retire", strings.TrimSpace(notRetired)+" "+err.Error()+".")
		}
		return
	}
	condition, action := v1alpha1.ConditionReady, "Hold"
	if v.ending() {
		condition, action = v1alpha1.ConditionRestored, "Restore"
	}
	message := "The API server refuses what comes next, which is tried again: " + err.Error() + "."
	if v.says(condition, message) {
		return
	}
	if v.ending() {
		v.set(condition, metav1.ConditionFalse, v1alpha1.ReasonRefused, message)
	} else {
		v.waiting(v1alpha1.ReasonRefused, message)
	}
	v.eventOnBoth(corev1.EventTypeWarning, v1alpha1.ReasonRefused, action, message)
}

// retired takes back what was said of a session that could not be let go.
func (v *visit) retired() {
	restored := v.condition(v1alpha1.ConditionRestored)
	message, _, _ := strings.Cut(restored.Message, notRetired)
	v.set(v1alpha1.ConditionRestored, restored.Status, restored.Reason, message)
}
