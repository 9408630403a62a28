package hold

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kinds are the workloads that are known.
type Kinds []Workload

// AllKinds are the kinds that this version knows, and the custom resources that
// it was installed for.
func AllKinds(custom ...schema.GroupResource) Kinds {
	kinds := Kinds{Deployment{}, StatefulSet{}, ReplicaSet{}, CronJob{}, Job{}, Rollout{}, ScaledJob{}, ScaledObject{}, DaemonSet{}, Pod{}}
	for _, resource := range custom {
		kinds = append(kinds, Scalable{GroupResource: resource})
	}
	return kinds
}

// For finds the kind that a target names, by exactly its group and resource.
func (k Kinds) For(resource schema.GroupResource) (Workload, bool) {
	for _, w := range k {
		if w.Resource() == resource {
			return w, true
		}
	}
	return nil, false
}

// Learn completes a kind with what the cluster knows of it, which for custom
// resources is where their numbers are. The error is a *NotScalableError when
// the cluster has no such kind, or one that cannot be held.
func Learn(ctx context.Context, reader client.Reader, kind Workload) (Workload, error) {
	if scalable, ok := kind.(Scalable); ok {
		return scalable.learn(ctx, reader)
	}
	return kind, nil
}
