package session

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// EnsureBeside opens the watch of a session whose pod has to remain alone, unless it
// is open. Of the pods that are selected it is told who they are and no more, for
// these may be all of a namespace; each new one of some controller's wakes the
// session once.
func (w *PodWatches) EnsureBeside(key types.NamespacedName, frozen types.UID, selector labels.Selector) {
	if w == nil {
		return
	}
	w.begin(&w.beside, key, func(ctx context.Context) { w.followBeside(ctx, key, frozen, selector) })
}

// followBeside wakes the session at each pod that comes.
func (w *PodWatches) followBeside(ctx context.Context, key types.NamespacedName, frozen types.UID, selector labels.Selector) {
	var seen map[types.UID]bool
	keepOpen(ctx, func() (watch.Interface, error) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
		return w.Client.Watch(ctx, list, client.InNamespace(key.Namespace), client.MatchingLabelsSelector{Selector: selector})
	}, func() {
		seen = map[types.UID]bool{frozen: true}
		w.wake(ctx, key)
	}, func(e watch.Event) {
		if pod, ok := e.Object.(*metav1.PartialObjectMetadata); ok && comes(e.Type, pod) && !seen[pod.UID] {
			seen[pod.UID] = true
			w.wake(ctx, key)
		}
	})
}

// comes says whether what was seen may be another pod of the workload.
func comes(event watch.EventType, pod *metav1.PartialObjectMetadata) bool {
	_, ours := pod.Labels[v1alpha1.SessionLabel]
	return event != watch.Deleted && !ours && pod.DeletionTimestamp.IsZero() && metav1.GetControllerOf(pod) != nil
}
