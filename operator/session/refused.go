package session

import (
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// isRefusal says whether an error is the API server's no, which a person has to
// see and often to answer: of a policy, of a webhook or of one that cannot be
// reached, of the operator's own rights. What passes by itself is none: conflicts,
// an API server that is busy or away.
func isRefusal(err error) bool {
	var answer apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err):
		return true
	case errors.As(err, &answer):
		return strings.Contains(answer.Status().Message, "webhook")
	}
	return false
}

// refused says in the session what the API server refuses, in its words. It is
// tried again and again, and said once.
func (v *visit) refused(err error) {
	if !isRefusal(err) {
		return
	}
	message := "The API server refuses what comes next, which is tried again: " + err.Error() + "."
	if v.condition(v1alpha1.ConditionReady).Message == cut(message, maxMessage) {
		return
	}
	v.waiting(v1alpha1.ReasonRefused, message)
	v.eventOnBoth(corev1.EventTypeWarning, v1alpha1.ReasonRefused, "Hold", message)
}
