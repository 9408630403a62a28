package hold

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/standing"
)

// rolloutHashLabel is how Argo Rollouts tells its ReplicaSets apart.
const rolloutHashLabel = "rollouts-pod-template-hash"

// Rollout holds Rollouts of Argo, with a template of their own or that of a
// workload that they refer to. A Rollout in the middle of a canary or of a
// blue-green switch is refused: its pods are of two templates, whose ratio
// would be made anew.
type Rollout struct{ replicas }

var _ Workload = Rollout{}

// Resource is the plural that targets name it by.
func (Rollout) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "argoproj.io", Resource: "rollouts"}
}

// Kind of its objects.
func (Rollout) Kind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"}
}

// New makes an empty one.
func (w Rollout) New() client.Object { return emptyOf(w.Kind()) }

func emptyOf(kind schema.GroupVersionKind) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	return object
}

// Inspect reads its state.
func (Rollout) Inspect(object client.Object) State {
	content := object.(*unstructured.Unstructured).Object
	number, ok := numberAt(content, "spec", "replicas")
	if !ok {
		number = 1 // Argo's own default
	}
	running, ok := numberAt(content, "status", "replicas")
	if !ok {
		running = Unknown
	}
	return State{
		Replicas:   number,
		Running:    running,
		Selector:   rolloutSelector(content),
		Rollout:    standing.RolloutUnseen(object.(*unstructured.Unstructured)),
		Refusal:    standing.RolloutRefusal(object.(*unstructured.Unstructured)),
		Controller: metav1.GetControllerOf(object),
	}
}

// ErrRolloutsUnseen says that there may be a Rollout that nobody here can see.
var ErrRolloutsUnseen = errors.New("Rollouts may not be listed")

// InPlaceOf names the Rollout that has taken a Deployment's template over and runs
// its pods; empty where none has. The error is ErrRolloutsUnseen where the cluster
// has Rollouts that may not be listed.
func InPlaceOf(ctx context.Context, reader client.Reader, deployment client.ObjectKey) (string, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(Rollout{}.Kind().GroupVersion().WithKind("RolloutList"))
	err := reader.List(ctx, list, client.InNamespace(deployment.Namespace))
	switch {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return "", nil
	case apierrors.IsForbidden(err):
		return "", ErrRolloutsUnseen
	case err != nil:
		return "", fmt.Errorf("looking for a rollout of deployment %s: %w", deployment, err)
	}
	for i := range list.Items {
		content := list.Items[i].Object
		if textAt(content, "spec", "workloadRef", "kind") == "Deployment" && textAt(content, "spec", "workloadRef", "name") == deployment.Name {
			return list.Items[i].GetName(), nil
		}
	}
	return "", nil
}

// numberAt reads a whole number, however it was decoded.
func numberAt(content map[string]any, path ...string) (int32, bool) {
	value, found, err := unstructured.NestedFieldNoCopy(content, path...)
	if !found || err != nil {
		return 0, false
	}
	switch n := value.(type) {
	case int64:
		return int32(n), true //nolint:gosec // a number of replicas
	case float64:
		return int32(n), true
	}
	return 0, false
}

func textAt(content map[string]any, path ...string) string {
	text, _, _ := unstructured.NestedString(content, path...)
	return text
}

// rolloutSelector is the Rollout's own. One that refers to a workload may have
// none: then every pod is looked at, and told by its controllers.
func rolloutSelector(content map[string]any) labels.Selector {
	own, found, err := unstructured.NestedMap(content, "spec", "selector")
	if !found || err != nil {
		return labels.Everything()
	}
	selector := &metav1.LabelSelector{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(own, selector) != nil {
		return labels.Nothing()
	}
	return selectorOf(selector)
}

// SetReplicas changes the number.
func (Rollout) SetReplicas(object client.Object, replicas int32) {
	setAt(object, int64(replicas), "spec", "replicas")
}

func setAt(object client.Object, value any, path ...string) {
	content := object.(*unstructured.Unstructured).Object
	if err := unstructured.SetNestedField(content, value, path...); err != nil {
		// Only where a parent is no object, which the kind's schema does not let be.
		panic(err)
	}
}

// Template of its pods, from the workload that it refers to if it does.
func (Rollout) Template(ctx context.Context, reader client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	content := object.(*unstructured.Unstructured).Object
	name := textAt(content, "spec", "workloadRef", "name")
	if name == "" {
		return templateAt(content)
	}
	key := client.ObjectKey{Namespace: object.GetNamespace(), Name: name}
	var source client.Object
	switch textAt(content, "spec", "workloadRef", "kind") {
	case "Deployment":
		source = &appsv1.Deployment{}
	case "ReplicaSet":
		source = &appsv1.ReplicaSet{}
	default:
		return nil, nil //nolint:nilnil // the contract's own "cannot be told"
	}
	if err := reader.Get(ctx, key, source); err != nil {
		return nil, fmt.Errorf("reading the workload %s that rollout %s refers to: %w", key, object.GetName(), err)
	}
	if set, ok := source.(*appsv1.ReplicaSet); ok {
		return &set.Spec.Template, nil
	}
	return &source.(*appsv1.Deployment).Spec.Template, nil
}

// templateAt reads spec.template; nil when that is no pod template.
func templateAt(content map[string]any) (*corev1.PodTemplateSpec, error) {
	own, found, err := unstructured.NestedMap(content, "spec", "template")
	if !found || err != nil {
		return nil, nil //nolint:nilnil,nilerr // the contract's own "cannot be told"
	}
	template := &corev1.PodTemplateSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(own, template); err != nil || len(template.Spec.Containers) == 0 {
		return nil, nil //nolint:nilnil,nilerr // the contract's own "cannot be told"
	}
	return template, nil
}

// Pods are those of all its ReplicaSets.
func (w Rollout) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOfSets(ctx, reader, object, w.Inspect(object).Selector)
}

// Controls asks the pod's ReplicaSet.
func (Rollout) Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	return Deployment{}.Controls(ctx, reader, namespace, object, controller)
}

// Settle waits for the controller to have seen the number, and for the
// ReplicaSets to have it.
func (w Rollout) Settle(ctx context.Context, api API, object client.Object) (Unsettled, error) {
	content := object.(*unstructured.Unstructured).Object
	state := w.Inspect(object)
	wait := setsWait{
		owner: object, selector: state.Selector, replicas: state.Replicas,
		newest: func(set *appsv1.ReplicaSet) bool {
			return set.Labels[rolloutHashLabel] == textAt(content, "status", "stableRS")
		},
	}
	if state.Rollout != "" {
		wait.first = "the rollouts controller to see the restored number"
	}
	return wait.settle(ctx, api)
}
