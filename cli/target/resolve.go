package target

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Target is the object that will be held.
type Target struct {
	v1alpha1.Target
	// Namespace of the object.
	Namespace string
	// Kind, in lower case, for people: "deployment".
	Kind string
	// Replicas that it is asked to have now; 1 and 0 for one that is suspended
	// instead of being scaled.
	Replicas int32
	// NotHeld says why it cannot be held, but copied; empty when it can be held.
	NotHeld string
	// Notices are what the user should know about the choices that were made.
	Notices []string
	// Object is what was read; nil for no target.
	Object *unstructured.Unstructured
	// Template is what the object's pods are made from. Where that cannot be told
	// it is nil and Pod is the pod that the stand-in is made of.
	Template *corev1.PodTemplateSpec
	Pod      *corev1.Pod
	// Owners are what a pod that is to be frozen belongs to, the nearest first; none
	// for a bare one.
	Owners []metav1.OwnerReference
}

// Nothing is the target of a session without one.
func Nothing(namespace string) *Target { return &Target{Namespace: namespace} }

// None says whether there is no target.
func (t *Target) None() bool { return t.Name == "" }

// String is the target as a person would name it.
func (t *Target) String() string {
	if t.None() {
		return nothing
	}
	return t.Kind + "/" + t.Name
}

// made is what the target's pods are, and their annotations.
func (t *Target) made() (corev1.PodSpec, map[string]string) {
	if t.Template != nil {
		return t.Template.Spec, t.Template.Annotations
	}
	return t.Pod.Spec, t.Pod.Annotations
}

// CanBeHeld fails for a target of which there can only be a copy. The error is
// a *failure.Failure.
func (t *Target) CanBeHeld() error {
	if t.NotHeld == "" {
		return nil
	}
	return failure.New("take a copy beside it: --copy-target without --scale-down", "%s cannot be held: %s", t, t.NotHeld)
}

// Reader is what a target is looked up with.
type Reader struct {
	Objects   dynamic.Interface
	Discovery discovery.DiscoveryInterface
}

// Resolve finds the object that ref stands for: the object itself, or what
// controls it in the end. Errors that the user can act on are *failure.Failure.
func Resolve(ctx context.Context, reader Reader, namespace string, ref Ref) (*Target, error) {
	r := resolver{Reader: reader, namespace: namespace}
	k, object, err := r.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	asked := object
	k, object, err = r.top(ctx, k, object)
	if err != nil {
		return nil, err
	}
	if k.Resource == "deployments" {
		if k, object, err = r.rolloutOf(ctx, k, object); err != nil {
			return nil, err
		}
	}
	t := &Target{
		Target:    v1alpha1.Target{Group: k.Group, Resource: k.Resource, Name: object.GetName(), UID: object.GetUID()},
		Namespace: namespace, Kind: k.word(), Replicas: number(k, object), NotHeld: k.notHeld(object), Object: object,
	}
	if asked != object {
		t.Notices = append(t.Notices, fmt.Sprintf("%s %s belongs to %s, which is taken over as a whole", strings.SplitN(ref.String(), "/", 2)[0], ref.Name, t))
	}
	if t.Template, t.Pod, err = r.pods(ctx, k, object, asked); err != nil {
		return nil, err
	}
	spec, annotations := t.made()
	name, notice, err := container(ref.Container, spec, annotations)
	if err != nil {
		return nil, &failure.Failure{What: fmt.Sprintf("%s in namespace %s", t, namespace), Err: err}
	}
	if notice != "" {
		t.Notices = append(t.Notices, notice)
	}
	t.Container = name
	return t, nil
}

type resolver struct {
	Reader
	namespace string
}

// find is the object that ref names, and its kind.
func (r resolver) find(ctx context.Context, ref Ref) (kind, *unstructured.Unstructured, error) {
	k, err := r.kindOf(schema.GroupResource{Group: ref.Group, Resource: ref.Resource})
	if err != nil {
		return kind{}, nil, err
	}
	object, err := r.get(ctx, k, ref.Name)
	return k, object, err
}

// kindOf finds a kind by its resource; for one that is not known by name, the
// API server's own version of it.
func (r resolver) kindOf(resource schema.GroupResource) (kind, error) {
	if k, ok := known(resource); ok {
		return k, nil
	}
	groups, err := r.Discovery.ServerGroups()
	if err != nil {
		return kind{}, fmt.Errorf("asking the API server for its resources: %w", err)
	}
	for _, group := range groups.Groups {
		if group.Name == resource.Group {
			return r.scalable(group.PreferredVersion.GroupVersion, func(a metav1.APIResource) bool { return a.Name == resource.Resource }, resource.String())
		}
	}
	return kind{}, failure.New(shapes, "the cluster has no resource %s", resource)
}

// scalable finds a resource of a group and version that has a scale
// subresource. The error is a *failure.Failure when there is none.
func (r resolver) scalable(groupVersion string, is func(metav1.APIResource) bool, name string) (kind, error) {
	parsed, err := schema.ParseGroupVersion(groupVersion)
	if err != nil {
		return kind{}, fmt.Errorf("reading the group %q: %w", groupVersion, err)
	}
	list, err := r.Discovery.ServerResourcesForGroupVersion(groupVersion)
	if err != nil {
		return kind{}, failure.New(shapes, "the cluster has no resource %s", name)
	}
	i := slices.IndexFunc(list.APIResources, is)
	if i < 0 {
		return kind{}, failure.New(shapes, "the cluster has no resource %s", name)
	}
	resource := list.APIResources[i]
	if !slices.ContainsFunc(list.APIResources, func(a metav1.APIResource) bool { return a.Name == resource.Name+"/scale" }) {
		return kind{}, failure.New("what is taken over is one of Kubernetes' own workloads, or has a scale subresource",
			"%s has no number of replicas that Kubernetes knows of", name)
	}
	return kind{GroupVersionResource: parsed.WithResource(resource.Name), number: replicasField, template: templateField}, nil
}

func (r resolver) get(ctx context.Context, k kind, name string) (*unstructured.Unstructured, error) {
	objects := r.Objects.Resource(k.GroupVersionResource).Namespace(r.namespace)
	object, err := objects.Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		return object, nil
	}
	if apierrors.IsNotFound(err) {
		if missing := r.NoNamespace(ctx, r.namespace); missing != nil {
			return nil, missing
		}
	}
	return nil, r.explain(err, k, name, func() []string {
		list, err := objects.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil // only for a suggestion
		}
		var names []string
		for i := range list.Items {
			names = append(names, list.Items[i].GetName())
		}
		return names
	})
}

// NoNamespace is the failure where there is not even the namespace, for who found
// nothing in it; nil where there is, and where this user is not told.
func (r Reader) NoNamespace(ctx context.Context, namespace string) error {
	_, err := r.Objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, namespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return nil
	}
	return failure.New("choose another with -n, or another cluster with --context", "there is no namespace %s", namespace)
}

// top climbs from controller to controller, up to the object that nothing
// controls.
func (r resolver) top(ctx context.Context, k kind, object *unstructured.Unstructured) (kind, *unstructured.Unstructured, error) {
	for {
		owner := metav1.GetControllerOf(object)
		if owner == nil {
			return k, object, nil
		}
		this := k.word() + "/" + object.GetName()
		if owner.Kind == "Session" && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/") {
			return k, nil, failure.New("name the workload that it stands in for", "%s is the stand-in of session %s", this, owner.Name)
		}
		above, err := r.kindOfOwner(*owner)
		if err != nil {
			var no *failure.Failure
			if errors.As(err, &no) {
				err = failure.New(fmt.Sprintf("%s %s would undo whatever is done to it, and is of a kind that cannot be taken over", owner.Kind, owner.Name),
					"%s is itself controlled by %s %s", this, owner.Kind, owner.Name)
			}
			return k, nil, err
		}
		if k, object, err = r.above(ctx, above, owner.Name); err != nil {
			return k, nil, err
		}
	}
}

func (r resolver) above(ctx context.Context, k kind, name string) (kind, *unstructured.Unstructured, error) {
	object, err := r.get(ctx, k, name)
	return k, object, err
}

func (r resolver) kindOfOwner(owner metav1.OwnerReference) (kind, error) {
	group, _ := schema.ParseGroupVersion(owner.APIVersion)
	for _, k := range kinds {
		if k.Group == group.Group && k.name == owner.Kind {
			return k, nil
		}
	}
	return r.scalable(owner.APIVersion, func(a metav1.APIResource) bool {
		return a.Kind == owner.Kind && !strings.Contains(a.Name, "/")
	}, owner.Kind)
}

// rolloutOf goes from a Deployment at zero to the Argo Rollout that has taken
// its template over, if there is one. Who may not list Rollouts has none.
func (r resolver) rolloutOf(ctx context.Context, k kind, deployment *unstructured.Unstructured) (kind, *unstructured.Unstructured, error) {
	if number(k, deployment) != 0 {
		return k, deployment, nil
	}
	rollouts, _ := called("rollout")
	list, err := r.Objects.Resource(rollouts.GroupVersionResource).Namespace(r.namespace).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return k, deployment, nil
	case apierrors.IsForbidden(err):
		return k, deployment, r.rolloutUnseen(rollouts, deployment)
	case err != nil:
		return k, nil, fmt.Errorf("looking for a rollout of deployment %s: %w", deployment.GetName(), err)
	}
	for i := range list.Items {
		of, _, _ := unstructured.NestedString(list.Items[i].Object, "spec", "workloadRef", "kind")
		name, _, _ := unstructured.NestedString(list.Items[i].Object, "spec", "workloadRef", "name")
		if of == "Deployment" && name == deployment.GetName() {
			return rollouts, &list.Items[i], nil
		}
	}
	return k, deployment, nil
}

// rolloutUnseen is why a Deployment at zero is not taken by who may not list
// Rollouts; nil where it is told without them: the cluster has none, which the API
// server says to nobody without the right, or a session holds it at zero.
func (r resolver) rolloutUnseen(rollouts kind, deployment *unstructured.Unstructured) error {
	claim, err := v1alpha1.ParseClaim(deployment.GetAnnotations()[v1alpha1.ClaimAnnotation])
	if err == nil && claim.Workload == deployment.GetUID() && claim.Replicas != 0 {
		return nil
	}
	list, err := r.Discovery.ServerResourcesForGroupVersion(rollouts.GroupVersion().String())
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("asking the API server whether it has Rollouts: %w", err)
	case !slices.ContainsFunc(list.APIResources, func(a metav1.APIResource) bool { return a.Name == rollouts.Resource }):
		return nil
	}
	return failure.New("name the rollout if there is one: rollout/NAME. Else the right is wanted, which the chart's value workloads.argoRollouts has in the ClusterRole understudy-user",
		"deployment/%s has 0 replicas, and whether an Argo Rollout has taken its place cannot be told: you may not list %s in namespace %s",
		deployment.GetName(), rollouts.GroupResource(), r.namespace)
}

// number is what a hold would bring to zero: an unset one is what the API
// server takes it for.
func number(k kind, object *unstructured.Unstructured) int32 {
	if slices.Equal(k.number, suspendField) {
		if suspended, _, _ := unstructured.NestedBool(object.Object, k.number...); suspended {
			return 0
		}
		return 1
	}
	if n, found, err := unstructured.NestedInt64(object.Object, k.number...); found && err == nil && len(k.number) > 0 {
		return int32(n) //nolint:gosec // a number of replicas
	}
	return 1
}

// pods tells what the target's pods are: by its template, by that of the
// workload that it refers to, or by a pod of its own.
func (r resolver) pods(ctx context.Context, k kind, object, asked *unstructured.Unstructured) (*corev1.PodTemplateSpec, *corev1.Pod, error) {
	if name, _, _ := unstructured.NestedString(object.Object, "spec", "workloadRef", "name"); name != "" && k.name == "Rollout" {
		of, _, _ := unstructured.NestedString(object.Object, "spec", "workloadRef", "kind")
		if workload, ok := called(strings.ToLower(of)); ok {
			var err error
			if object, err = r.get(ctx, workload, name); err != nil {
				return nil, nil, err
			}
			k = workload
		}
	}
	if template := templateOf(k, object); template != nil {
		return template, nil, nil
	}
	pod := &corev1.Pod{}
	for _, candidate := range []*unstructured.Unstructured{asked, object} {
		if candidate.GetKind() == "Pod" && runtime.DefaultUnstructuredConverter.FromUnstructured(candidate.Object, pod) == nil {
			return nil, pod, nil
		}
	}
	one, err := r.onePod(ctx, k, object.GetName())
	return nil, one, err
}

// templateOf is the pods' template where the kind has one; nil for none.
func templateOf(k kind, object *unstructured.Unstructured) *corev1.PodTemplateSpec {
	if len(k.template) == 0 {
		return nil
	}
	template := &corev1.PodTemplateSpec{}
	content, found, err := unstructured.NestedMap(object.Object, k.template...)
	if !found || err != nil || runtime.DefaultUnstructuredConverter.FromUnstructured(content, template) != nil || len(template.Spec.Containers) == 0 {
		return nil
	}
	return template
}

// onePod reads a pod of a custom resource, by the selector that its scale has.
func (r resolver) onePod(ctx context.Context, k kind, name string) (*corev1.Pod, error) {
	none := failure.New("scale it up, or name one of its pods: pod/NAME", "%s/%s has no pod from which its containers could be told", k.word(), name)
	scale, err := r.Objects.Resource(k.GroupVersionResource).Namespace(r.namespace).Get(ctx, name, metav1.GetOptions{}, "scale")
	if err != nil {
		return nil, r.explain(err, k, name, nil)
	}
	selector, _, _ := unstructured.NestedString(scale.Object, "status", "selector")
	if selector == "" {
		return nil, none
	}
	pods, _ := called("pod")
	list, err := r.Objects.Resource(pods.GroupVersionResource).Namespace(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, r.explain(err, pods, name, nil)
	}
	for i := range list.Items {
		pod := &corev1.Pod{}
		if _, standIn := list.Items[i].GetLabels()[v1alpha1.SessionLabel]; !standIn && runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, pod) == nil {
			return pod, nil
		}
	}
	return nil, none
}

// explain says in a user's words why an object could not be read. The names
// that there are may be nil.
func (r resolver) explain(err error, k kind, name string, names func() []string) error {
	switch {
	case apierrors.IsNotFound(err):
		hint := "choose another namespace with -n"
		if names != nil {
			found := names()
			if likely := near(name, found); len(likely) > 0 {
				hint = fmt.Sprintf("did you mean %s? Or %s", list(likely, "or"), hint)
			} else if len(found) > 0 && len(found) <= 5 {
				slices.Sort(found)
				hint = fmt.Sprintf("there %s %s; %s", areIs(found), list(found, "and"), hint)
			}
		}
		return failure.New(hint, "there is no %s %q in namespace %s", k.word(), name, r.namespace)
	case apierrors.IsForbidden(err):
		return &failure.Failure{
			What: fmt.Sprintf("you may not read %s in namespace %s", k.Resource, r.namespace),
			Hint: UserRole(r.namespace), Err: err,
		}
	}
	return fmt.Errorf("reading %s %s/%s: %w", k.word(), r.namespace, name, err)
}

// UserRole is the hint that says how somebody gets the rights that a session
// needs.
func UserRole(namespace string) string {
	return fmt.Sprintf("the ClusterRole understudy-user, which the Helm chart makes, has all that is needed; an administrator binds it:\n"+
		"kubectl create rolebinding understudy-user -n %[1]s --clusterrole=understudy-user --user=NAME\n"+
		"or is another namespace meant than %[1]s? It is chosen with -n", namespace)
}
