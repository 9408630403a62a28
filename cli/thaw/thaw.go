// Package thaw thaws what is frozen on a node by hand, for the day on which
// nothing else does: with an administrator's own rights, and with no operator.
package thaw

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// Options of one run. Exactly one of Pod and Node is named.
type Options struct {
	// Namespace and Pod of what is frozen.
	Namespace, Pod string
	// Node whose pods are all to be thawed.
	Node string
	// Agents is the namespace of agents on nodes, Image the agent's; empty for
	// what the operator's Deployment says.
	Agents, Image string
	// Timeout is how long one pod is waited for; 0 is DefaultTimeout.
	Timeout time.Duration
	// Say tells what is being done.
	Say func(format string, args ...any)
	// Begin tells what is waited for, and returns whom to tell why.
	Begin func(doing string) Step

	priority string // class of the agents, as the operator's Deployment says
}

// Run ends the agents that hold what is to be thawed, which thaws it where they
// can, and then has one that only thaws look whether anything is left. It
// returns what that one said.
func Run(ctx context.Context, kube kubernetes.Interface, o Options) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	node, target, err := o.where(ctx, kube)
	if err != nil {
		return "", err
	}
	uid := target.UID
	alone, err := solos(ctx, kube, o, node, uid)
	if err != nil {
		return "", err
	}
	if err := o.complete(ctx, kube, alone); err != nil {
		return "", err
	}
	for i := range alone {
		if err := endAgent(ctx, kube, o, &alone[i], "of "+alone[i].Annotations[nodeagent.OwnerAnnotation]+", made without an operator"); err != nil {
			return "", err
		}
	}
	if err := endAgents(ctx, kube, o, node, uid); err != nil {
		return "", err
	}
	return thaw(ctx, kube, o, node, target)
}

// Check says whether exactly one of Pod and Node is named.
func (o *Options) Check() error {
	const example = "as in: understudy thaw --pod worker-0 -n shop, or: understudy thaw --node node-1"
	switch {
	case o.Pod == "" && o.Node == "":
		return failure.New(example, "say which pod or which node is to be thawed")
	case o.Pod != "" && o.Node != "":
		return failure.New(example, "--pod and --node exclude each other: a pod's node is known")
	}
	return nil
}

// where finds the node on which is thawed, and the pod that is meant, an empty one where
// all of the node is. On a node that there is not an agent would wait for ever.
func (o *Options) where(ctx context.Context, kube kubernetes.Interface) (node string, target *corev1.Pod, err error) {
	if o.Pod == "" {
		_, err := kube.CoreV1().Nodes().Get(ctx, o.Node, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return "", nil, failure.New("there are those that this lists: kubectl get nodes", "there is no node %q", o.Node)
		case err != nil && !apierrors.IsForbidden(err):
			return "", nil, fmt.Errorf("reading node %s: %w", o.Node, err)
		}
		return o.Node, new(corev1.Pod), nil
	}
	pod, err := kube.CoreV1().Pods(o.Namespace).Get(ctx, o.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil, failure.New("choose another namespace with -n; what was frozen of a pod that is gone is thawed with --node NODE", "there is no pod %q in namespace %s", o.Pod, o.Namespace)
	case err != nil:
		return "", nil, fmt.Errorf("reading pod %s/%s: %w", o.Namespace, o.Pod, err)
	case pod.Spec.NodeName == "":
		return "", nil, failure.New("", "pod %s/%s is on no node: nothing of it can be frozen", o.Namespace, o.Pod)
	}
	return pod.Spec.NodeName, pod, nil
}

// solos are the agents that owners have made without an operator: of one pod the
// one beside it, of a node all that may be seen.
func solos(ctx context.Context, kube kubernetes.Interface, o Options, node string, uid types.UID) ([]corev1.Pod, error) {
	var found []corev1.Pod
	for _, namespace := range slices.Compact([]string{o.Agents, o.Namespace}) {
		if uid == "" || namespace == "" {
			continue
		}
		agent, err := kube.CoreV1().Pods(namespace).Get(ctx, nodeagent.SoloName(uid), metav1.GetOptions{})
		switch {
		case err == nil:
			found = append(found, *agent)
		case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
			return nil, fmt.Errorf("reading who has the pod: %w", err)
		}
	}
	if uid != "" {
		return found, nil
	}
	all, err := kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: nodeagent.SoloLabels})
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("listing the agents that no operator has made: %w", err)
	}
	if err == nil {
		for _, agent := range all.Items {
			if agent.Spec.NodeName == node && nodeagent.IsSolo(&agent) {
				found = append(found, agent)
			}
		}
	}
	return found, nil
}

// complete finds what the operator makes agents of, or what they were made of
// without one.
func (o *Options) complete(ctx context.Context, kube kubernetes.Interface, alone []corev1.Pod) error {
	if len(alone) > 0 {
		o.Agents, o.Image = cmp.Or(o.Agents, alone[0].Namespace), cmp.Or(o.Image, alone[0].Spec.Containers[0].Image)
	}
	if o.Agents != "" && o.Image != "" {
		return nil
	}
	found, err := kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=understudy,app.kubernetes.io/component=operator"})
	if err != nil {
		return fmt.Errorf("looking for the operator's deployment: %w", err)
	}
	for i := range found.Items {
		for _, c := range found.Items[i].Spec.Template.Spec.Containers {
			for _, arg := range c.Args {
				if image, ok := strings.CutPrefix(arg, "--agent-image="); ok && o.Image == "" {
					o.Image = image
				}
				if class, ok := strings.CutPrefix(arg, "--agents-priority-class="); ok {
					o.priority = class
				}
				if agents, ok := strings.CutPrefix(arg, "--agents-namespace="); ok && o.Agents == "" {
					o.Agents = agents
				}
			}
		}
	}
	if o.Image == "" || o.Agents == "" {
		return failure.New("say them: --agent-image IMAGE --agents-namespace NAMESPACE (it must allow privileged pods)",
			"there is no operator's deployment that says which image agents have, and where")
	}
	return nil
}

// endAgents deletes the agents on the node, or those that hold one pod, and
// waits until they have ended: one that lives would freeze again.
func endAgents(ctx context.Context, kube kubernetes.Interface, o Options, node string, uid types.UID) error {
	selector := v1alpha1.SessionUIDLabel
	if uid != "" {
		lock, err := kube.CoordinationV1().Leases(o.Agents).Get(ctx, "pod-"+string(uid), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil // no session has it
		}
		if err != nil {
			return fmt.Errorf("reading who has the pod: %w", err)
		}
		selector += "=" + lock.Labels[v1alpha1.SessionUIDLabel]
	}
	agents := kube.CoreV1().Pods(o.Agents)
	if uid == "" {
		selector += "," + v1alpha1.SessionNamespaceLabel // the others have been ended
	}
	found, err := agents.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("listing the agents: %w", err)
	}
	for i := range found.Items {
		agent := &found.Items[i]
		if agent.Spec.NodeName != node {
			continue
		}
		if err := endAgent(ctx, kube, o, agent, "of session "+agent.Labels[v1alpha1.SessionNamespaceLabel]+"/"+agent.Labels[v1alpha1.SessionLabel]); err != nil {
			return err
		}
		// Nobody else may be there to let it go.
		_, err := agents.Patch(ctx, agent.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("letting go of the agent %s: %w", agent.Name, err)
		}
	}
	return nil
}

// endAgent deletes an agent and waits until it has ended.
func endAgent(ctx context.Context, kube kubernetes.Interface, o Options, agent *corev1.Pod, whose string) error {
	o.Say("ending the agent %s %s", agent.Name, whose)
	err := kube.CoreV1().Pods(agent.Namespace).Delete(ctx, agent.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &agent.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("ending the agent %s: %w", agent.Name, err)
	}
	if _, err := o.ended(ctx, kube, agent); err != nil {
		return &failure.Failure{
			What: fmt.Sprintf("waiting for the agent %s to end, which was asked to, and stays", agent.Name), Err: err,
			Hint: "as long as it may live it could freeze again, so nothing else was done; see to node " + agent.Spec.NodeName + " and its kubelet, and run this again",
		}
	}
	return nil
}
