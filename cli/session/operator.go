package session

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Operator is what is known of the operator in a cluster, each empty where it
// is not.
type Operator struct {
	// Version of the chart that installed it.
	Version string
	// Image that it runs.
	Image string
	// AgentImage is the one that it takes the agent from.
	AgentImage string
	// Namespace that it runs in.
	Namespace string
	// Workloads are what it may touch beside Kubernetes' own, "rollouts.argoproj.io";
	// nil where its chart does not say.
	Workloads []string
}

// ErrNoOperator: the cluster knows what a session is, and nobody sees to it.
var ErrNoOperator error = failure.New(InstallHint, "Understudy's resources are in this cluster, but no operator is installed")

// String is "0.1.0 (registry.example.com/understudy-operator:0.1.0)".
func (o Operator) String() string {
	version := o.Version
	if version == "" {
		version = "of an unknown version"
	}
	if o.Image == "" {
		return version
	}
	return version + " (" + o.Image + ")"
}

// versionLabel is where Helm charts write which version they install.
const versionLabel = "app.kubernetes.io/version"

// policy goes with the operator: the chart installs, upgrades and removes both.
const policy = "understudy-sessions"

// Operator reads, from the policy that goes with it, which operator the chart
// has installed. The chart lets every user read that.
func (c *Client) Operator(ctx context.Context) (Operator, error) {
	if err := c.Installed(ctx); err != nil {
		return Operator{}, err
	}
	found, err := c.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, policy, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return Operator{}, ErrNoOperator
	case apierrors.IsForbidden(err):
		return Operator{}, failure.New("", "you may not read it in this cluster")
	case err != nil:
		return Operator{}, fmt.Errorf("reading the policy %s: %w", policy, err)
	}
	operator := Operator{
		Version: found.Labels[versionLabel], Image: found.Annotations[v1alpha1.OperatorImageAnnotation],
		AgentImage: found.Annotations[v1alpha1.AgentImageAnnotation],
		Namespace:  found.Annotations[v1alpha1.OperatorNamespaceAnnotation],
	}
	if workloads, says := found.Annotations[v1alpha1.OperatorWorkloadsAnnotation]; says {
		operator.Workloads = strings.Split(workloads, ",") // [""] for none
	}
	return operator, nil
}
