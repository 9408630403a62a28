package hold

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Workload is one kind of object that can be held. An implementation is one
// small file; everything that is the same for all kinds is in Holder.
type Workload interface {
	// Resource is the group and plural that a Session's target names it by.
	Resource() schema.GroupResource
	// Kind is what its objects are.
	Kind() schema.GroupVersionKind
	// New makes an empty object to read into.
	New() client.Object
	// Inspect reads the state out of an object that was just read.
	Inspect(object client.Object) State
	// SetReplicas changes the wished number on the object, in memory.
	SetReplicas(object client.Object, replicas int32)
	// Pods are the pods that the object controls, directly or through others,
	// found by the controllers' UIDs and not by labels alone.
	Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error)
	// Controls says whether what a pod is controlled by belongs to the object of
	// that UID. What is gone might have.
	Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error)
	// Settle is called after the object was put back, until it says that
	// nothing is left to wait for: it cleans what the object's controllers
	// copied from it and sees to it that they took up the number. What is
	// still waited for is in the answer, empty when all is done.
	Settle(ctx context.Context, api API, object client.Object) (waitingFor string, err error)
}

// API is what the package needs to reach the API server: reads that are never
// served by a cache, and writes.
type API struct {
	client.Reader
	Writer client.Writer
}

// State is what the decisions need to know of an object.
type State struct {
	// Replicas that are wished for; what the kind's default makes of an unset
	// number.
	Replicas int32
	// Running is the number of pods that the object's own status speaks of.
	Running int32
	// Template and Selector of its pods.
	Template *corev1.PodTemplateSpec
	Selector labels.Selector
	// Rollout says what a rollout in progress is waiting for; empty when there
	// is none.
	Rollout string
	// Controller is what the object is itself controlled by, nil for none.
	Controller *metav1.OwnerReference
}

// Kinds are the workloads that can be held.
type Kinds []Workload

// AllKinds are the kinds that this version knows.
func AllKinds() Kinds { return Kinds{Deployment{}} }

// For finds the kind that a target names, by exactly its group and resource.
func (k Kinds) For(resource schema.GroupResource) (Workload, bool) {
	for _, w := range k {
		if w.Resource() == resource {
			return w, true
		}
	}
	return nil, false
}
