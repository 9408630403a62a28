package session

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// endedFrom and endedBy are the annotations by which somebody who ends a session
// leaves word for the run that is ended: of its Lease, which its owner may write and
// who may write all Leases, or of the agent's pod where no operator keeps it. They are
// a courtesy, and prove nothing.
const (
	endedFrom = "understudy.dev/ended-from"
	endedBy   = "understudy.dev/ended-by"
)

// farewellFor is how long may be spent on either side of it.
const farewellFor = 2 * time.Second

// FarewellPatch leaves word, on any object, of who ends a session on which machine.
func FarewellPatch(by v1alpha1.Owner) ([]byte, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{endedFrom: by.Hostname, endedBy: by.Username}}})
	if err != nil {
		return nil, fmt.Errorf("encoding a farewell: %w", err)
	}
	return patch, nil
}

// FarewellOf is the word that was left on an object.
func FarewellOf(object metav1.Object) (by v1alpha1.Owner, said bool) {
	annotations := object.GetAnnotations()
	by.Username = annotations[endedBy]
	by.Hostname, said = annotations[endedFrom]
	return by, said
}

// Ended is the error of a run whose session of that name and owner was ended so.
func Ended(name, owner string, by v1alpha1.Owner) error {
	where := ""
	if by.Hostname != "" {
		where = " (on " + by.Hostname + ")"
	}
	if by.Username == "" || by.Username == owner {
		return failure.New("start again", "you have ended the session %s%s from another terminal", name, where)
	}
	return failure.New("talk to them, or start again", "%s has ended the session %s%s", by.Username, name, where)
}

// SayFarewell leaves word for the run of a session that is ended by somebody.
func (c *Client) SayFarewell(ctx context.Context, s *v1alpha1.Session, by v1alpha1.Owner) error {
	ctx, cancel := context.WithTimeout(ctx, farewellFor)
	defer cancel()
	patch, err := FarewellPatch(by)
	if err != nil {
		return err
	}
	_, err = c.steady.CoordinationV1().Leases(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "understudy"})
	if err != nil {
		return fmt.Errorf("leaving word that session %s is ended: %w", s.Name, short(err))
	}
	return nil
}

// Farewell is who has ended a session; not said where they could not leave word, or
// its Lease is gone already.
func (c *Client) Farewell(ctx context.Context, s *v1alpha1.Session) (by v1alpha1.Owner, said bool) {
	ctx, cancel := context.WithTimeout(ctx, farewellFor)
	defer cancel()
	lease, err := c.steady.CoordinationV1().Leases(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
	if err != nil || !ownedBy(lease, s.UID) {
		return by, false
	}
	return FarewellOf(lease)
}
