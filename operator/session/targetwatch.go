package session

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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
	watches map[types.NamespacedName]context.CancelFunc
}

// Ensure opens a session's watch unless it is open.
func (w *targetWatches) Ensure(key types.NamespacedName, kind schema.GroupVersionKind, target types.NamespacedName) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches[key] != nil || !w.open() {
		return
	}
	ctx, stop := context.WithCancel(w.base)
	if w.watches == nil {
		w.watches = map[types.NamespacedName]context.CancelFunc{}
	}
	w.watches[key] = stop
	w.group.Go(func() { w.follow(ctx, key, kind, target) })
}

// Stop closes a session's watch.
func (w *targetWatches) Stop(key types.NamespacedName) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if stop := w.watches[key]; stop != nil {
		stop()
		delete(w.watches, key)
	}
}

// follow keeps the watch open, and wakes the session each time that it opens:
// the object may have changed while it was not.
func (w *targetWatches) follow(ctx context.Context, key types.NamespacedName, kind schema.GroupVersionKind, target types.NamespacedName) {
	for ctx.Err() == nil {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		watching, err := w.client.Watch(ctx, list, client.InNamespace(target.Namespace), client.MatchingFields{"metadata.name": target.Name})
		if err == nil {
			w.wake(ctx, key)
			for range watching.ResultChan() {
				w.wake(ctx, key)
			}
			watching.Stop()
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// cached says whether all objects of a kind are in the operator's cache, by
// their identity. Deployments are few, and most sessions are about one.
func cached(kind hold.Workload) bool {
	_, ok := kind.(hold.Deployment)
	return ok
}
