package session

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/nodeagent"
)

// solo fails where somebody has frozen the pod without an operator, by an agent
// beside it. Of one elsewhere the node's own records tell the agent, which then
// does nothing.
func (v *visit) solo(ctx context.Context) error {
	frozen := v.status().Frozen
	agent := &corev1.Pod{}
	err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.session.Namespace, Name: nodeagent.SoloName(frozen.UID)}, agent)
	switch {
	case apierrors.IsNotFound(err), err == nil && nodeagent.Over(agent):
		return nil
	case err == nil && nodeagent.Abandoned(agent, v.session.CreationTimestamp.Time):
		// Its owner went before it began. It does nothing should it be started yet:
		// it sees that it is too late, and the node's records before that. Both times
		// are the API server's.
		return nil
	case err != nil:
		return fmt.Errorf("looking for an agent that no operator has made: %w", err)
	}
	// Nothing was done, and nothing is to be thawed.
	v.status().Frozen = nil
	return heldByAnother("pod "+v.session.Spec.Target.Name, agent.Annotations[nodeagent.OwnerAnnotation], agent.CreationTimestamp.UTC().Format(time.RFC3339), agent.Name)
}
