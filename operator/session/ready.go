package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// ready is reached when nothing is left to wait for.
func ready(ctx context.Context, v *visit) (bool, error) {
	if v.is(v1alpha1.ConditionReady) {
		return true, nil
	}
	message := "The stand-in runs beside the target."
	switch {
	case v.scalesDown():
		message = "The stand-in runs and no pod of the workload does."
	case v.freezes():
		message = "The container is frozen."
	case v.attaches():
		message = "The agent is in the pod's network, and the container goes on running."
	case v.targetless():
		message = "The empty pod runs."
	}
	v.set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDone, message)
	if v.status().ReadyAt == nil {
		now := metav1.NewMicroTime(v.now())
		v.status().ReadyAt = &now
		v.Metrics.ready(now.Sub(v.session.CreationTimestamp.Time))
	}
	v.event(corev1.EventTypeNormal, "Ready", "SetUp", fmt.Sprintf("The session of %s became ready.", v.session.Spec.Owner.Username))
	return true, v.save(ctx)
}
