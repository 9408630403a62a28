// Package snapshot says whether a workload is what it was: the whole object,
// field by field, before and after, and whether anything of a session is left.
package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	apps "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/cluster"
)

// Snapshot is a deployment and its ReplicaSets as decoded JSON, without what
// changes with every write: resource version, generation and times.
type Snapshot struct {
	Deployment  map[string]any
	ReplicaSets map[string]map[string]any
}

// Take takes a snapshot. The deployment must be at rest.
func Take(ctx context.Context, c *cluster.Cluster, namespace, name string) (Snapshot, error) {
	s := Snapshot{ReplicaSets: map[string]map[string]any{}}
	d, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return s, fmt.Errorf("taking a snapshot of deployment %s/%s: %w", namespace, name, err)
	}
	settleDeployment(d)
	if s.Deployment, err = decoded(d); err != nil {
		return s, err
	}
	sets, err := c.Client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("taking a snapshot of the ReplicaSets in %s: %w", namespace, err)
	}
	for _, rs := range sets.Items {
		if owner := metav1.GetControllerOf(&rs); owner == nil || owner.UID != d.UID {
			continue
		}
		settle(&rs.ObjectMeta)
		rs.Status.ObservedGeneration = 0
		if s.ReplicaSets[rs.Name], err = decoded(rs); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Diff is empty when after is what before was.
func Diff(before, after Snapshot) string { return cmp.Diff(before, after) }

func settleDeployment(d *apps.Deployment) {
	settle(&d.ObjectMeta)
	d.Status.ObservedGeneration = 0
	for i := range d.Status.Conditions {
		d.Status.Conditions[i].LastUpdateTime = metav1.Time{}
		d.Status.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	slices.SortFunc(d.Status.Conditions, func(a, b apps.DeploymentCondition) int {
		return strings.Compare(string(a.Type), string(b.Type))
	})
}

func settle(m *metav1.ObjectMeta) {
	m.ResourceVersion, m.Generation = "", 0
	for i := range m.ManagedFields {
		m.ManagedFields[i].Time = nil
	}
	// The API server orders them by time.
	slices.SortFunc(m.ManagedFields, func(a, b metav1.ManagedFieldsEntry) int {
		return strings.Compare(a.Manager+"\x00"+string(a.Operation)+"\x00"+a.Subresource, b.Manager+"\x00"+string(b.Operation)+"\x00"+b.Subresource)
	})
}

func decoded(object any) (map[string]any, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("taking a snapshot: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("taking a snapshot: %w", err)
	}
	return out, nil
}
