package hold

import (
	"context"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/ownership"
)

// The annotations by which KEDA is told to pause; see its documentation, "Pause
// autoscaling". With either of them it leaves the workload alone; the second
// says at which number besides.
const (
	pausedAnnotation         = "autoscaling.keda.sh/paused"
	pausedReplicasAnnotation = "autoscaling.keda.sh/paused-replicas"
)

// kedaKind is what the kinds of KEDA have in common: their number is 1 while
// they scale and 0 while they are paused.
type kedaKind struct{}

func (kedaKind) Field() []string {
	return []string{"f:metadata", "f:annotations", "f:" + pausedAnnotation}
}

func (kedaKind) Describe(n int32) string {
	if n == 0 {
		return "paused"
	}
	return "not paused"
}

// SetReplicas pauses or not. A pause that is there already is left as it is.
func (kedaKind) SetReplicas(object client.Object, n int32) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	switch {
	case n == 0 && paused(annotations):
		return
	case n == 0:
		if value, there := annotations[pausedAnnotation]; there {
			annotations[ownership.WasPausedAnnotation] = value
		}
		annotations[pausedAnnotation] = "true"
	default:
		if value, there := annotations[ownership.WasPausedAnnotation]; there {
			annotations[pausedAnnotation] = value
		} else if paused(annotations) {
			delete(annotations, pausedAnnotation)
		}
		delete(annotations, ownership.WasPausedAnnotation)
	}
	object.SetAnnotations(annotations)
}

// paused reads the annotations as KEDA does: a value that is no boolean pauses.
func paused(annotations map[string]string) bool {
	if _, there := annotations[pausedReplicasAnnotation]; there {
		return true
	}
	value, there := annotations[pausedAnnotation]
	pause, err := strconv.ParseBool(value)
	return there && (pause || err != nil)
}

// state reads the number, and whether KEDA has acted on it.
func (kedaKind) state(object client.Object) State {
	state := State{Replicas: 1, Running: Unknown, Selector: labels.Nothing(), Controller: metav1.GetControllerOf(object)}
	if paused(object.GetAnnotations()) {
		state.Replicas = 0
		if !saysPaused(object.(*unstructured.Unstructured).Object) {
			state.Unheeded = "KEDA has not yet said that it is paused"
		}
	}
	return state
}

func saysPaused(content map[string]any) bool {
	conditions, _, _ := unstructured.NestedSlice(content, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if ok && condition["type"] == "Paused" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

func (kedaKind) Settle(context.Context, API, client.Object) (Unsettled, error) {
	return Unsettled{}, nil
}

// ScaledObject is KEDA's autoscaler of a workload. It is paused before that is
// held, and is no target itself.
type ScaledObject struct{ kedaKind }

// ScaledJob makes jobs as its triggers ask for. Paused, it makes no more; those
// that run are waited for.
type ScaledJob struct{ kedaKind }

var (
	_ Autoscaler = ScaledObject{}
	_ Workload   = ScaledJob{}
)

// Autoscaler is what sets the number of another object. It is paused like a
// workload that is suspended, with a claim of its own, so that it comes back the
// same ways.
type Autoscaler interface {
	Workload
	// Scales says whether it sets the number of that object.
	Scales(object client.Object, kind schema.GroupVersionKind, name string) bool
}

// Resource is its plural.
func (ScaledObject) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "keda.sh", Resource: "scaledobjects"}
}

// Kind of its objects.
func (ScaledObject) Kind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"}
}

// New makes an empty one.
func (w ScaledObject) New() client.Object { return emptyOf(w.Kind()) }

// Inspect reads its state.
func (w ScaledObject) Inspect(object client.Object) State {
	state := w.state(object)
	state.Refusal = "it is what scales a workload: name that workload"
	return state
}

// Scales compares the reference that it has, with KEDA's own defaults.
func (ScaledObject) Scales(object client.Object, kind schema.GroupVersionKind, name string) bool {
	content := object.(*unstructured.Unstructured).Object
	of, version := textAt(content, "spec", "scaleTargetRef", "kind"), textAt(content, "spec", "scaleTargetRef", "apiVersion")
	if of == "" {
		of = "Deployment"
	}
	if version == "" {
		version = "apps/v1"
	}
	group, err := schema.ParseGroupVersion(version)
	return err == nil && textAt(content, "spec", "scaleTargetRef", "name") == name && of == kind.Kind && group.Group == kind.Group
}

// Template is none.
func (ScaledObject) Template(context.Context, client.Reader, client.Object) (*corev1.PodTemplateSpec, error) {
	return nil, nil //nolint:nilnil // the contract's own "cannot be told"
}

// Pods are none: they are the workload's.
func (ScaledObject) Pods(context.Context, client.Reader, client.Object) ([]corev1.Pod, error) {
	return nil, nil
}

// Controls is never so.
func (ScaledObject) Controls(context.Context, client.Reader, string, types.UID, metav1.OwnerReference) (bool, error) {
	return false, nil
}

// Resource is the plural that targets name it by.
func (ScaledJob) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "keda.sh", Resource: "scaledjobs"}
}

// Kind of its objects.
func (ScaledJob) Kind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledJob"}
}

// New makes an empty one.
func (w ScaledJob) New() client.Object { return emptyOf(w.Kind()) }

// Inspect reads its state.
func (w ScaledJob) Inspect(object client.Object) State {
	state := w.state(object)
	state.Selector = ofJobs(nil)
	if template, _ := jobTemplateOf(object); template != nil {
		state.Selector = ofJobs(template.Labels)
	}
	return state
}

func jobTemplateOf(object client.Object) (*corev1.PodTemplateSpec, error) {
	content, found, err := unstructured.NestedMap(object.(*unstructured.Unstructured).Object, "spec", "jobTargetRef", "template")
	if !found || err != nil {
		return nil, nil //nolint:nilnil,nilerr // the contract's own "cannot be told"
	}
	template := &corev1.PodTemplateSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, template); err != nil || len(template.Spec.Containers) == 0 {
		return nil, nil //nolint:nilnil,nilerr // the contract's own "cannot be told"
	}
	return template, nil
}

// Template of its jobs' pods.
func (ScaledJob) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return jobTemplateOf(object)
}

// Pods are those of all jobs that it controls.
func (w ScaledJob) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOfJobs(ctx, reader, object, w.Inspect(object).Selector)
}

// Controls asks the pod's job.
func (ScaledJob) Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	return CronJob{}.Controls(ctx, reader, namespace, object, controller)
}
