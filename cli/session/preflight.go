package session

import (
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// VerbTakeover is the right, on the target itself, to stand in for it.
const VerbTakeover = "takeover"

// VerbFreeze is the right, on a pod itself, to freeze it and stand in for it.
const VerbFreeze = "freeze"

// VerbAttach is the right, on a pod itself, to have its surroundings and its
// traffic while it goes on running.
const VerbAttach = "attach"

// VerbTargetless is the right, on pods and none in particular, to have an empty
// one to go out from.
const VerbTargetless = "targetless"

// InstallHint says how an operator is had.
const InstallHint = "an administrator installs it once per cluster, with Helm, from a checkout of Understudy:\n" +
	"helm install understudy charts/understudy --namespace understudy --create-namespace"

// FreezeHint says how freezing, and attaching, is allowed in a cluster that has
// an operator.
const FreezeHint = "the chart leaves freezing and attaching off, because both take privileged agents in a namespace of their own; an administrator allows them:\n" +
	"helm upgrade understudy charts/understudy --namespace understudy --reuse-values --set freeze.enabled=true"

// CopyHint says what needs none of that.
const CopyHint = "a copy beside the target needs no such thing: --copy-target"

// ErrNotInstalled: the cluster does not know what a session is.
var ErrNotInstalled error = failure.New(InstallHint, "Understudy is not installed in this cluster")

// Username is who the API server takes this user for.
func (c *Client) Username(ctx context.Context) (string, error) {
	review, err := c.Kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the API server who you are: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// Installed fails unless the cluster knows what a session is: with ErrNotInstalled
// where it does not.
func (c *Client) Installed(ctx context.Context) error {
	// Discovery's own method takes no context.
	err := c.Kube.Discovery().RESTClient().Get().AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version).Do(ctx).Error()
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return ErrNotInstalled
	}
	return fmt.Errorf("asking the API server whether Understudy is installed: %w", err)
}

// MayCreate fails unless the user may make sessions in the namespace.
func (c *Client) MayCreate(ctx context.Context) error {
	return c.may(ctx, "sessions."+v1alpha1.GroupVersion.Group, authorizationv1.ResourceAttributes{
		Namespace: c.Namespace, Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: v1alpha1.Resource.Resource,
	})
}

// MayTakeOver fails unless the user may stand in for exactly this target, by one
// of the verbs.
func (c *Client) MayTakeOver(ctx context.Context, t *target.Target, verb string) error {
	if t.None() {
		return c.may(ctx, "pods", authorizationv1.ResourceAttributes{Namespace: c.Namespace, Verb: verb, Resource: "pods"})
	}
	err := c.may(ctx, t.String(), authorizationv1.ResourceAttributes{
		Namespace: c.Namespace, Verb: verb, Group: t.Group, Resource: t.Resource, Name: t.Name,
	})
	// The role has these verbs only where the chart allows freezing.
	if refused := (*failure.Failure)(nil); (verb == VerbFreeze || verb == VerbAttach) && errors.As(err, &refused) {
		refused.Hint += "\n" + FreezeHint
		if verb == VerbAttach {
			refused.Hint += "\n" + CopyHint
		}
	}
	return err
}

func (c *Client) may(ctx context.Context, what string, attributes authorizationv1.ResourceAttributes) error {
	review, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("asking the API server whether you may %s %s: %w", attributes.Verb, what, err)
	}
	if review.Status.Allowed {
		return nil
	}
	var reason error
	if review.Status.Reason != "" {
		reason = errors.New(review.Status.Reason)
	}
	return &failure.Failure{
		What: fmt.Sprintf("you lack the right %q on %s in namespace %s", attributes.Verb, what, c.Namespace),
		Hint: target.UserRole(c.Namespace), Err: reason,
	}
}
