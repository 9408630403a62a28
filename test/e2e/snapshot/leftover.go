package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
)

// domain is in the name of everything that we put on an object.
const domain = "understudy.dev"

// everywhere are the resources that a session may leave something in. Pods and
// ReplicaSets come and go by themselves, the others are all listed by name.
var everywhere = []schema.GroupVersionResource{
	understudy.Resource,
	{Version: "v1", Resource: "pods"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Version: "v1", Resource: "persistentvolumeclaims"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
}

// Inventory is what a namespace holds: the names of its objects, and every
// mark of ours that one of them bears. A namespace that a session has left has
// the inventory that it had before.
func Inventory(ctx context.Context, c *cluster.Cluster, namespace string) ([]string, error) {
	var found []string
	for _, resource := range everywhere {
		list, err := c.Dynamic.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing %s in %s: %w", resource.Resource, namespace, err)
		}
		for _, item := range list.Items {
			for _, mark := range marks(item) {
				found = append(found, fmt.Sprintf("%s/%s %s", resource.Resource, item.GetName(), mark))
			}
			if resource.Resource != "pods" {
				found = append(found, resource.Resource+"/"+item.GetName())
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

func marks(item unstructured.Unstructured) []string {
	var found []string
	for key := range item.GetLabels() {
		if strings.Contains(key, domain) {
			found = append(found, "label "+key)
		}
	}
	for key := range item.GetAnnotations() {
		if strings.Contains(key, domain) {
			found = append(found, "annotation "+key)
		}
	}
	for _, owner := range item.GetOwnerReferences() {
		if strings.HasPrefix(owner.APIVersion, domain) {
			found = append(found, "owner "+owner.Kind+" "+owner.Name)
		}
	}
	for _, finalizer := range item.GetFinalizers() {
		if strings.Contains(finalizer, domain) {
			found = append(found, "finalizer "+finalizer)
		}
	}
	for _, entry := range item.GetManagedFields() {
		if strings.Contains(entry.Manager, "understudy") {
			found = append(found, "field manager "+entry.Manager)
		}
	}
	return found
}
