package session

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// PodWatches watches the pods of single workloads while they are brought to
// zero: no cache of the cluster's pods, only of those that are waited for. It
// wakes the session at each change, and keeps how a deleted pod looked last,
// which is what tells an ended pod from one that was removed by force.
type PodWatches struct {
	// Client opens the watches.
	Client client.WithWatch
	// Wake takes the sessions to be looked at.
	Wake chan event.TypedGenericEvent[Wake]

	lifetime
	watches map[types.NamespacedName]*podWatch
	// beside are the watches for pods that come beside a frozen one.
	beside stops
}

type podWatch struct {
	stop context.CancelFunc
	mu   sync.Mutex
	seen map[types.UID]v1alpha1.OldPod
	last map[types.UID]*corev1.Pod
	// controllers of the pods that were seen.
	controllers map[types.UID]metav1.OwnerReference
}

// NewPodWatches makes the watches of one operator.
func NewPodWatches(c client.WithWatch) *PodWatches {
	return &PodWatches{Client: c, Wake: make(chan event.TypedGenericEvent[Wake], 256), watches: map[types.NamespacedName]*podWatch{}}
}

// Ensure opens a session's watch unless it is open.
func (w *PodWatches) Ensure(key types.NamespacedName, namespace string, selector labels.Selector) {
	w.ensure(key, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector})
}

// EnsurePod opens the watch of a session that is about one pod.
func (w *PodWatches) EnsurePod(key types.NamespacedName, pod *corev1.Pod) {
	w.ensure(key, client.InNamespace(pod.Namespace), client.MatchingFields{"metadata.name": pod.Name})
}

func (w *PodWatches) ensure(key types.NamespacedName, which ...client.ListOption) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches[key] != nil || !w.open() {
		return
	}
	ctx, stop := context.WithCancel(w.base)
	p := &podWatch{stop: stop, seen: map[types.UID]v1alpha1.OldPod{}, last: map[types.UID]*corev1.Pod{}, controllers: map[types.UID]metav1.OwnerReference{}}
	w.watches[key] = p
	w.group.Go(func() { w.follow(ctx, key, p, which...) })
}

// Stop closes a session's watch and forgets what it saw.
func (w *PodWatches) Stop(key types.NamespacedName) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.watches[key]; p != nil {
		p.stop()
		delete(w.watches, key)
	}
	w.beside.stop(key)
}

// Last is how a deleted pod looked last; nil if its deletion was not seen.
func (w *PodWatches) Last(key types.NamespacedName, pod types.UID) *corev1.Pod {
	p := w.get(key)
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[pod]
}

// Controller is what a pod was seen to be controlled by; nil if it was not seen.
func (w *PodWatches) Controller(key types.NamespacedName, pod types.UID) *metav1.OwnerReference {
	p := w.get(key)
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if controller, ok := p.controllers[pod]; ok {
		return &controller
	}
	return nil
}

// Merge adds to the noted pods those that came and went between two lists.
func (w *PodWatches) Merge(key types.NamespacedName, noted []v1alpha1.OldPod) []v1alpha1.OldPod {
	merged := append([]v1alpha1.OldPod(nil), noted...)
	p := w.get(key)
	if p == nil {
		return merged
	}
	known := map[types.UID]bool{}
	for _, note := range noted {
		known[note.UID] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, note := range p.seen {
		if !known[uid] {
			merged = append(merged, note)
		}
	}
	return merged
}

func (w *PodWatches) get(key types.NamespacedName) *podWatch {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watches[key]
}

// follow notes each change, and wakes the session.
func (w *PodWatches) follow(ctx context.Context, key types.NamespacedName, p *podWatch, which ...client.ListOption) {
	wake := func() { w.wake(ctx, key) }
	keepOpen(ctx, func() (watch.Interface, error) { return w.Client.Watch(ctx, &corev1.PodList{}, which...) }, wake, func(e watch.Event) {
		p.note(e)
		wake()
	})
}

func (w *PodWatches) wake(ctx context.Context, key types.NamespacedName) {
	w.ask(ctx, Wake{NamespacedName: key})
}

func (w *PodWatches) ask(ctx context.Context, wake Wake) {
	select {
	case w.Wake <- event.TypedGenericEvent[Wake]{Object: wake}:
	case <-ctx.Done():
	}
}

func (p *podWatch) note(e watch.Event) {
	pod, ok := e.Object.(*corev1.Pod)
	if !ok {
		return
	}
	// The stand-in bears the labels too. It is not one of the old pods.
	controller := metav1.GetControllerOf(pod)
	if _, standIn := pod.Labels[v1alpha1.SessionLabel]; standIn || controller == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[pod.UID], p.controllers[pod.UID] = hold.Note(pod), *controller
	if e.Type == watch.Deleted {
		p.last[pod.UID] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID}, Spec: corev1.PodSpec{NodeName: pod.Spec.NodeName}, Status: pod.Status}
	}
}
