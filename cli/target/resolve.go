package target

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

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
	// Replicas that it is asked to have now.
	Replicas int32
	// Notices are what the user should know about the choices that were made.
	Notices []string
}

// String is the target as a person would name it.
func (t *Target) String() string { return t.Kind + "/" + t.Name }

// Resolve finds the object that ref stands for: a Deployment itself, or the
// Deployment that a pod belongs to. Errors that the user can act on are
// *failure.Failure.
func Resolve(ctx context.Context, client kubernetes.Interface, namespace string, ref Ref) (*Target, error) {
	r := resolver{client: client, namespace: namespace}
	var deployment *appsv1.Deployment
	var notices []string
	var err error
	switch ref.Resource {
	case "deployments":
		deployment, err = r.deployment(ctx, ref.Name)
	case "pods":
		if deployment, err = r.ofPod(ctx, ref.Name); err == nil {
			notices = append(notices, fmt.Sprintf("pod %s belongs to deployment/%s, which is taken over as a whole", ref.Name, deployment.Name))
		}
	default:
		err = failure.New(shapes, "%s cannot be taken over", ref)
	}
	if err != nil {
		return nil, err
	}
	if owner := metav1.GetControllerOf(deployment); owner != nil {
		return nil, failure.New(fmt.Sprintf("%s %s would undo whatever is done to the deployment; a workload of that kind cannot be taken over yet", owner.Kind, owner.Name),
			"deployment/%s is itself controlled by %s %s", deployment.Name, owner.Kind, owner.Name)
	}
	name, notice, err := container(ref.Container, deployment.Spec.Template.Spec, deployment.Spec.Template.Annotations)
	if err != nil {
		return nil, &failure.Failure{What: fmt.Sprintf("deployment/%s in namespace %s", deployment.Name, namespace), Err: err}
	}
	if notice != "" {
		notices = append(notices, notice)
	}
	replicas := int32(1) // what the API server takes an absent number for
	if deployment.Spec.Replicas != nil {
		replicas = *deployment.Spec.Replicas
	}
	return &Target{
		Target: v1alpha1.Target{
			Group: appsv1.GroupName, Resource: "deployments",
			Name: deployment.Name, UID: deployment.UID, Container: name,
		},
		Namespace: namespace, Kind: "deployment", Replicas: replicas, Notices: notices,
	}, nil
}

type resolver struct {
	client    kubernetes.Interface
	namespace string
}

func (r resolver) deployment(ctx context.Context, name string) (*appsv1.Deployment, error) {
	deployment, err := r.client.AppsV1().Deployments(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		return deployment, nil
	}
	return nil, r.explain(err, "deployment", name, func() []string {
		return namesOf(r.client.AppsV1().Deployments(r.namespace).List(ctx, metav1.ListOptions{}))
	})
}

// namesOf are the names in a list as it came from the API server; none where it
// may not be had, since they are only for a suggestion.
func namesOf(list runtime.Object, err error) []string {
	if err != nil {
		return nil
	}
	var names []string
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if object, err := meta.Accessor(item); err == nil {
			names = append(names, object.GetName())
		}
		return nil
	})
	return names
}

// ofPod goes from a pod up to the Deployment that it belongs to.
func (r resolver) ofPod(ctx context.Context, name string) (*appsv1.Deployment, error) {
	pod, err := r.client.CoreV1().Pods(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, r.explain(err, "pod", name, func() []string {
			return namesOf(r.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{}))
		})
	}
	owner := metav1.GetControllerOf(pod)
	switch {
	case owner == nil:
		return nil, failure.New("a pod that belongs to a Deployment works", "pod/%s belongs to nothing that could be held: taking over a bare pod does not work yet", name)
	case owner.Kind == "Session" && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/"):
		return nil, failure.New("name the workload that it stands in for", "pod/%s is the stand-in of session %s", name, owner.Name)
	case owner.Kind != "ReplicaSet":
		return nil, unsupported(name, owner.Kind, owner.Name)
	}
	set, err := r.client.AppsV1().ReplicaSets(r.namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	if err != nil {
		return nil, r.explain(err, "replicaset", owner.Name, nil)
	}
	top := metav1.GetControllerOf(set)
	switch {
	case top == nil:
		return nil, unsupported(name, "ReplicaSet", set.Name)
	case top.Kind != "Deployment":
		return nil, unsupported(name, top.Kind, top.Name)
	}
	return r.deployment(ctx, top.Name)
}

func unsupported(pod, kind, name string) error {
	return failure.New("a Deployment works, or a pod that belongs to one",
		"pod/%s belongs to %s %s: taking over a %s does not work yet", pod, kind, name, kind)
}

// explain says in a user's words why an object could not be read. The names
// that there are may be nil.
func (r resolver) explain(err error, kind, name string, names func() []string) error {
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
		return failure.New(hint, "there is no %s %q in namespace %s", kind, name, r.namespace)
	case apierrors.IsForbidden(err):
		return &failure.Failure{
			What: fmt.Sprintf("you may not read %ss in namespace %s", kind, r.namespace),
			Hint: UserRole(r.namespace), Err: err,
		}
	}
	return fmt.Errorf("reading %s %s/%s: %w", kind, r.namespace, name, err)
}

// UserRole is the hint that says how somebody gets the rights that a session
// needs.
func UserRole(namespace string) string {
	return fmt.Sprintf("the ClusterRole understudy-user, which the Helm chart makes, has all that is needed; an administrator binds it:\n"+
		"kubectl create rolebinding understudy-user -n %s --clusterrole=understudy-user --user=NAME", namespace)
}
