package session

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold"
)

// targetWatches watches the single objects that sessions are about, of the kinds
// that are not in a cache: there may be a hundred times as many ReplicaSets and
// Jobs in a cluster as there are sessions. It wakes the session at each change.
type targetWatches struct {
	// client opens the watches.
	client client.WithWatch
	// wake is told of the sessions to be looked at.
	wake func(context.Context, types.NamespacedName)

	lifetime
	watches stops
}

// Ensure opens a session's watch unless it is open.
func (w *targetWatches) Ensure(key types.NamespacedName, kind schema.GroupVersionKind, target types.NamespacedName) {
	if w == nil {
		return
	}
	w.begin(&w.watches, key, func(ctx context.Context) { w.follow(ctx, key, kind, target) })
}

// Stop closes a session's watch.
func (w *targetWatches) Stop(key types.NamespacedName) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches.stop(key)
}

// follow wakes the session at each change.
func (w *targetWatches) follow(ctx context.Context, key types.NamespacedName, kind schema.GroupVersionKind, target types.NamespacedName) {
	wake := func() { w.wake(ctx, key) }
	keepOpen(ctx, func() (watch.Interface, error) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		return w.client.Watch(ctx, list, client.InNamespace(target.Namespace), client.MatchingFields{"metadata.name": target.Name})
	}, wake, func(watch.Event) { wake() })
}

// cached says whether all objects of a kind are in the operator's cache, by
// their identity. Deployments are few, and most sessions are about one.
func cached(kind hold.Workload) bool {
	_, ok := kind.(hold.Deployment)
	return ok
}
