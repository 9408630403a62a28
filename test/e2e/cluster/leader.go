package cluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leads is an error unless an operator has renewed its leadership since then,
// and its pod runs.
func (c *Cluster) Leads(ctx context.Context, since time.Time) error {
	lease, err := c.Client.CoordinationV1().Leases(OperatorNamespace).Get(ctx, "understudy-operator", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading who leads: %w", err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return fmt.Errorf("nobody leads")
	}
	if lease.Spec.RenewTime == nil || !lease.Spec.RenewTime.After(since) {
		return fmt.Errorf("%s led, and has not renewed it since %s", *lease.Spec.HolderIdentity, since.Format("15:04:05"))
	}
	return nil
}
