package session

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Holder finds the session that holds the target of another one; nil where
// none is seen.
func (c *Client) Holder(ctx context.Context, lost *v1alpha1.Session) (*v1alpha1.Session, error) {
	list, err := c.sessions.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", short(err))
	}
	for i := range list.Items {
		s := &list.Items[i]
		if s.UID != lost.UID && s.Spec.Target.UID == lost.Spec.Target.UID && meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionClaimed) {
			return s, nil
		}
	}
	return nil, nil
}

// Taken are the pods that sessions of the namespace freeze or attach to, as far
// as this user may know: one session has a pod at a time.
func (c *Client) Taken(ctx context.Context) map[types.UID]bool {
	taken := map[types.UID]bool{}
	list, err := c.sessions.List(ctx, metav1.ListOptions{})
	if err != nil {
		return taken // the operator decides
	}
	for i := range list.Items {
		if s := &list.Items[i]; s.Spec.Takeover == v1alpha1.TakeoverFreeze || s.Spec.Attaches() {
			taken[s.Spec.Target.UID] = true
		}
	}
	return taken
}
