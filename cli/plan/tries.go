package plan

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	case w.Operator.AgentImage == "":
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
	if w.Username == "" {
		w.SessionTrial.Untried = "who you are could not be read"
		return
	}
	spec := v1alpha1.SessionSpec{
		Target: w.Target.Target, Takeover: takeovers[w.Takeover], Owner: v1alpha1.Owner{Username: w.Username}, ClientKey: "AAAA",
	}
	if c := w.Asked; c != nil {
		spec.Wait, spec.Agent = c.Wait && w.scalesDown(), session.AgentPod(c.Agent, w.Target.None())
	}
	w.SessionTrial = judged(client.Try(ctx, spec))
}

// tryHold has the API server try the number 0 on the target, as the operator writes
// it and as far as the user may.
func (w *World) tryHold(ctx context.Context, client *session.Client) {
	t := w.Target
	if t.Object == nil || t.NotHeld != "" || t.Replicas == 0 {
		return // nothing would be written over
	}
	may, err := client.Allowed(ctx, "patch", client.Namespace, t.Group, t.Resource, t.Name)
	if err != nil {
		w.HoldTrial.Untried = short(err).Error()
		return
	}
	if !may {
		w.HoldTrial.Untried = "you may not patch " + t.String()
		return
	}
	patch, err := zeroPatch(w)
	if err != nil {
		w.HoldTrial.Untried = err.Error()
		return
	}
	resource := t.Object.GroupVersionKind().GroupVersion().WithResource(t.Resource)
	_, err = client.Objects.Resource(resource).Namespace(client.Namespace).Patch(ctx, t.Name, types.MergePatchType, patch,
		metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "understudy"})
	w.HoldTrial = judged(err)
}

// zeroPatch is what the operator writes on the target to hold it: the claim, and what
// the kind has for a number.
func zeroPatch(w *World) ([]byte, error) {
	t := w.Target
	annotations := map[string]any{v1alpha1.ClaimAnnotation: v1alpha1.NewClaim(t.UID, "", w.Session, w.Username, t.Replicas, time.Now()).String()}
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	switch {
	case t.Group == batchv1.GroupName:
		patch["spec"] = map[string]any{"suspend": true}
	case t.Group == scaledObjects.Group:
		annotations["autoscaling.keda.sh/paused"] = "true"
	default:
		patch["spec"] = map[string]any{"replicas": 0}
	}
	return json.Marshal(patch)
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
