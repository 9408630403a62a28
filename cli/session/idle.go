package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/failure"
)

// operatorName is what the chart calls the operator's Deployment, and the operator
// the Lease of the one that leads.
const operatorName = "understudy-operator"

// leadAgain is how often the Lease of an operator that may not lead any more is read:
// one that does renews it every second.
const leadAgain = time.Second

// Idle is why an operator that is installed does nothing: none of its pods is ready,
// or none of them leads. The error is a *failure.Failure then; nil where one works.
// unknown says why nobody can tell; empty where it is known.
//
// Everybody may read the Lease where operators agree by one; the Deployment is for
// whom the cluster's own roles let.
func (c *Client) Idle(ctx context.Context, operator Operator) (unknown string, idle error) {
	if operator.Namespace == "" {
		return "the chart that installed it does not say where it runs", nil
	}
	look := fmt.Sprintf("an administrator looks with: kubectl get pods,events -n %s; until one runs no session begins and none is undone", operator.Namespace)
	known := false
	found, err := c.Kube.AppsV1().Deployments(operator.Namespace).Get(ctx, operatorName, metav1.GetOptions{})
	switch {
	case err == nil && found.Status.ReadyReplicas == 0:
		return "", failure.New(look, "the operator is installed, but none of its pods is ready%s", since(found))
	case err == nil && slices.ContainsFunc(found.Spec.Template.Spec.Containers, agreesByNone):
		return "", nil // there is one alone
	case err == nil:
		known = true
	case apierrors.IsNotFound(err):
		return "", failure.New(look, "the operator is installed, but its deployment %s/%s is gone", operator.Namespace, operatorName)
	}
	lease, err := c.lead(ctx, operator.Namespace)
	switch {
	case apierrors.IsNotFound(err) && !known:
		return "", failure.New(look, "the operator is installed, but none has begun to work")
	case apierrors.IsForbidden(err) && !known:
		return "you may see neither its pods nor which of them leads", nil
	case err != nil:
		if known {
			return "", nil
		}
		return short(err).Error(), nil
	case ptr.Deref(lease.Spec.HolderIdentity, "") == "":
		return "", failure.New(look, "the operator is installed, but nobody leads since %s", heardOf(lease))
	}
	duration := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	if last := lease.Spec.RenewTime; last == nil || time.Since(last.Time).Abs() > duration {
		// By this machine's clock, which may be wrong: whoever leads renews it meanwhile.
		err := wait.PollUntilContextTimeout(ctx, leadAgain, duration+leadAgain, false, func(ctx context.Context) (bool, error) {
			again, err := c.lead(ctx, operator.Namespace)
			return err == nil && again.ResourceVersion != lease.ResourceVersion, err
		})
		if wait.Interrupted(err) && ctx.Err() == nil {
			return "", failure.New(look, "the operator is installed, but nobody leads since %s", heardOf(lease))
		}
	}
	return "", nil
}

// agreesByNone says whether an operator is one that leads without a Lease.
func agreesByNone(c corev1.Container) bool { return slices.Contains(c.Args, "--leader-elect=false") }

func (c *Client) lead(ctx context.Context, namespace string) (*coordinationv1.Lease, error) {
	return c.Kube.CoordinationV1().Leases(namespace).Get(ctx, operatorName, metav1.GetOptions{})
}

func heardOf(lease *coordinationv1.Lease) string {
	if lease.Spec.RenewTime == nil {
		return "it was made"
	}
	return lease.Spec.RenewTime.UTC().Format(time.RFC3339)
}

// since is when a deployment lost the last of its pods, where it tells.
func since(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status == corev1.ConditionFalse {
			return " since " + c.LastTransitionTime.UTC().Format(time.RFC3339)
		}
	}
	return ""
}
