package plan

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// try has the API server try the stand-in as the operator does: with the agent's
// program as an image volume, then by an init container.
func (w *World) try(ctx context.Context, client *session.Client, mayMake bool) {
	switch {
	case !mayMake:
		w.Trial.Untried = "you may not create pods"
		return
	case w.AgentImage == "":
		w.Trial.Untried = "which image the agent has could not be read"
		return
	case !w.Target.None() && w.spec() == nil:
		return
	}
	for _, delivery := range []v1alpha1.AgentDelivery{v1alpha1.DeliveryImageVolume, v1alpha1.DeliveryInitContainer} {
		pod, _, err := w.build(delivery)
		if err != nil {
			return // a check says so
		}
		// It is nobody's: there is no Session.
		pod.OwnerReferences = nil
		_, err = client.Kube.CoreV1().Pods(client.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "understudy"})
		if w.Trial = judged(err); w.Trial.Refused == "" {
			return
		}
	}
}

// takeovers are named as a Session names them.
var takeovers = map[config.Takeover]v1alpha1.Takeover{
	config.TakeoverCopy: v1alpha1.TakeoverCopy, config.TakeoverScaleDown: v1alpha1.TakeoverScaleDown,
	config.TakeoverFreeze: v1alpha1.TakeoverFreeze, config.TakeoverNone: v1alpha1.TakeoverNone,
}

// trySession has the API server try the Session that exec would make: whether the
// namespace is one in which sessions are allowed, and whether any are taken now, is
// known to the policies alone.
func (w *World) trySession(ctx context.Context, client *session.Client) {
	username, err := client.Username(ctx)
	if err != nil {
		w.SessionTrial.Untried = short(err).Error()
		return
	}
	w.Username = username
	w.SessionTrial = judged(client.Try(ctx, v1alpha1.SessionSpec{
		Target: w.Target.Target, Takeover: takeovers[w.Takeover], Owner: v1alpha1.Owner{Username: username},
		ClientKey: "AAAA", Wait: w.Asked != nil && w.Asked.Wait && w.scalesDown(),
	}))
}

// judged is what the error of a dry run comes to.
func judged(err error) Trial {
	var answer apierrors.APIStatus
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return Trial{Taken: true}
	case !errors.As(err, &answer), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err):
		return Trial{Untried: short(err).Error()}
	}
	return Trial{Refused: answer.Status().Message}
}
