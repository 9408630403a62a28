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
//
// Every kind has one number: its replicas, or 1 and 0 for a kind that is not
// scaled but suspended.
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
	// Field is where the number is, in the notation of managedFields.
	Field() []string
	// Describe says a number for people: "3 replicas", "suspend: true".
	Describe(replicas int32) string
	// Template is what the object's pods are made from; nil when that cannot be
	// told from the object, so that one of its pods has to serve.
	Template(ctx context.Context, reader client.Reader, object client.Object) (*corev1.PodTemplateSpec, error)
	// Pods are the pods that the object controls, directly or through others,
	// found by the controllers' UIDs and not by labels alone.
	Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error)
	// Controls says whether what a pod is controlled by belongs to the object of
	// that UID. What is gone might have.
	Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error)
	// Settle is called after the object was put back, until it says that
	// nothing is left to wait for: it cleans what the object's controllers
	// copied from it and sees to it that they took up the number.
	Settle(ctx context.Context, api API, object client.Object) (Unsettled, error)
}

// Unsettled is what a workload that was put back still waits for; nothing when it is
// empty.
type Unsettled struct {
	// For is what it waits for, to be said after "waiting for".
	For string
	// Kept says that its controller has seen the number and was kept from acting on
	// it. That does not come back to it by itself, but at each look that is taken.
	Kept bool
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
	// Unset says that there is no number, and that the kind has no default for it
	// that we know: Replicas is 0 then, and nobody has asked for that.
	Unset bool
	// Running is the number of pods that the object's own status speaks of, or
	// Unknown.
	Running int32
	// Selector of its pods. It may select more than those.
	Selector labels.Selector
	// Rollout says what a rollout in progress is waiting for; empty when there
	// is none.
	Rollout string
	// Refusal is why the object cannot be held as it is now, and what to do
	// about it; empty when it can.
	Refusal string
	// Unheeded says what the object's own controller has not yet done about it
	// being at zero; empty for nothing.
	Unheeded string
	// Restarts says what a hold would make the object lose, which its owner has
	// to have agreed to; empty for nothing.
	Restarts string
	// Controller is what the object is itself controlled by, nil for none.
	Controller *metav1.OwnerReference
}

// Unknown is a number that an object's status does not have.
const Unknown int32 = -1
