package session

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// endedFrom is the annotation of a session's Lease by which its owner says, from
// another terminal, that it is they who end it: the Lease is what only the owner
// may write, and the run that is ended reads it to say why.
const endedFrom = "understudy.dev/ended-from"

// farewellFor is how long may be spent on either side of it. It is a courtesy.
const farewellFor = 2 * time.Second

// SayFarewell leaves word for the run of a session of one's own that it is ended
// by its owner, on that machine.
func (c *Client) SayFarewell(ctx context.Context, s *v1alpha1.Session, host string) error {
	ctx, cancel := context.WithTimeout(ctx, farewellFor)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{endedFrom: host}}})
	if err != nil {
		return fmt.Errorf("encoding a farewell: %w", err)
	}
	_, err = c.steady.CoordinationV1().Leases(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "understudy"})
	if err != nil {
		return fmt.Errorf("leaving word that session %s is ended: %w", s.Name, short(err))
	}
	return nil
}

// Farewell is the machine on which the owner of a session has ended it; not said
// where somebody else did, or its Lease is gone already.
func (c *Client) Farewell(ctx context.Context, s *v1alpha1.Session) (host string, said bool) {
	ctx, cancel := context.WithTimeout(ctx, farewellFor)
	defer cancel()
	lease, err := c.steady.CoordinationV1().Leases(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
	if err != nil || !ownedBy(lease, s.UID) {
		return "", false
	}
	host, said = lease.Annotations[endedFrom]
	return host, said
}
