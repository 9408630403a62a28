package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/pending"
)

// nodeAgent makes the agent on the target's node and waits until it says that
// the container is frozen, or that it is attached. One that is lost ends the session: with it the
// container was thawed, and reads again.
func nodeAgent(ctx context.Context, v *visit) (bool, error) {
	agent := v.status().Agent
	if agent == nil {
		return v.makeNodeAgent(ctx, 1)
	}
	pod := &corev1.Pod{}
	err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.AgentsNamespace, Name: agent.PodName}, pod)
	switch {
	case apierrors.IsNotFound(err) && agent.PodUID == "":
		// Everything was made ready for it, then we were interrupted.
		return v.makeNodeAgent(ctx, agent.Incarnation)
	case apierrors.IsNotFound(err):
		return false, v.agentLost("its pod is gone")
	case err != nil:
		return false, fmt.Errorf("reading the agent's pod: %w", err)
	}
	return v.awaitNodeAgent(ctx, pod)
}

func (v *visit) awaitNodeAgent(ctx context.Context, pod *corev1.Pod) (bool, error) {
	agent := v.status().Agent
	if agent.PodUID != "" && agent.PodUID != pod.UID {
		return false, v.agentLost("its pod was replaced")
	}
	agent.PodUID, agent.NodeName = pod.UID, pod.Spec.NodeName
	status := nodeagent.Status(pod, nodeagent.AgentContainer)
	ended, _, message := nodeagent.Ended(pod)
	switch {
	case ended:
		return false, v.agentLost(message)
	case !pod.DeletionTimestamp.IsZero():
		return false, v.agentLost("its pod was deleted")
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return false, v.agentLost(orElse(pod.Status.Message, pod.Status.Reason, string(pod.Status.Phase)))
	case status != nil && status.RestartCount > 0:
		return false, v.agentLost("it was started again")
	case nodeagent.Ready(pod):
		v.noteFrozen()
		return true, v.save(ctx)
	}
	var events corev1.EventList
	if err := v.Live.List(ctx, &events, client.InNamespace(pod.Namespace), client.MatchingFields{"involvedObject.uid": string(pod.UID)}); err != nil {
		return false, fmt.Errorf("listing the events of the agent on the node: %w", err)
	}
	why := pending.Reason(pod, events.Items)
	if status != nil && status.State.Running != nil {
		why = v.grip().pending
	}
	v.set(v.grip().condition, metav1.ConditionFalse, v1alpha1.ReasonNodeAgentPending, why)
	v.waiting(v1alpha1.ReasonNodeAgentPending, "Waiting for the agent on node "+pod.Spec.NodeName+": "+why)
	v.again(askAgain)
	return false, nil
}

func (v *visit) noteFrozen() {
	grip := v.grip()
	if v.is(grip.condition) {
		return
	}
	frozen := v.status().Frozen
	if frozen.FrozenAt == nil {
		now := metav1.NewMicroTime(v.now())
		frozen.FrozenAt = &now
		v.eventOnBoth(corev1.EventTypeNormal, grip.event, grip.action, fmt.Sprintf(grip.begun, v.session.Spec.Target.Container))
	}
	v.set(grip.condition, metav1.ConditionTrue, v1alpha1.ReasonDone, fmt.Sprintf(grip.ready, frozen.NodeName))
}

func (v *visit) agentLost(why string) error {
	why = strings.TrimSuffix(strings.TrimSpace(why), ".")
	if v.status().Frozen.FrozenAt == nil {
		return final(v.grip().failed, "the agent on node %s did not get to container %s: %s", v.status().Frozen.NodeName, v.session.Spec.Target.Container, why)
	}
	return final(v1alpha1.ReasonNodeAgentLost, v.grip().lost, v.status().Frozen.NodeName, why)
}

// makeNodeAgent makes the pod of the given number, after what it needs and
// after its fingerprint is in the status.
func (v *visit) makeNodeAgent(ctx context.Context, number int32) (bool, error) {
	opts := v.agentOptions(number)
	opts.Resources = v.session.Spec.Agent.Resources
	pod := nodeagent.Pod(opts)
	if agent := v.status().Agent; agent == nil || agent.Incarnation != number {
		err := v.equipNodeAgent(ctx, pod.Name, number)
		if errors.Is(err, errNumberTaken) {
			return v.makeNodeAgent(ctx, number+1)
		}
		if err != nil {
			return false, err
		}
	}
	err := v.Writer.Create(ctx, pod, client.FieldOwner(hold.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		v.again(0)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("making the agent on the node: %w", v.agentRefused(err))
	}
	return v.awaitNodeAgent(ctx, pod)
}

func (v *visit) agentOptions(number int32) nodeagent.Options {
	frozen := v.status().Frozen
	return nodeagent.Options{
		Namespace: v.AgentsNamespace, SessionNamespace: v.session.Namespace, SessionName: v.session.Name, SessionUID: v.session.UID,
		Number: number, Image: v.Agent.Image, PullPolicy: v.Agent.PullPolicy, NodeName: frozen.NodeName,
	}
}

func (v *visit) equipNodeAgent(ctx context.Context, podName string, number int32) error {
	task, err := v.nodeAgentTask(ctx)
	if err != nil {
		return err
	}
	data, fingerprint, err := task.Secret()
	if err != nil {
		return final(v.grip().failed, "%v", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := v.Writer.Create(groupCtx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: v.AgentsNamespace, Name: nodeagent.SecretName(v.session.UID, number), Labels: nodeagent.Labels(v.session)},
			Data:       data,
		}, client.FieldOwner(hold.FieldManager))
		if apierrors.IsAlreadyExists(err) {
			return errNumberTaken
		}
		if err != nil {
			return fmt.Errorf("making the agent's secret: %w", v.agentRefused(err))
		}
		return nil
	})
	// To renew the Lease, and to reach the agent.
	group.Go(func() error { return v.grant(groupCtx, "") })
	group.Go(func() error { return v.grantNodeAgent(groupCtx, podName) })
	if err := group.Wait(); err != nil {
		return err
	}
	v.status().Agent = &v1alpha1.Agent{
		Incarnation: number, Namespace: v.AgentsNamespace, PodName: podName, Port: settings.DefaultPort, CertificateFingerprint: fingerprint,
	}
	return v.save(ctx)
}

func (v *visit) nodeAgentTask(ctx context.Context) (nodeagent.Task, error) {
	clientKey, err := base64.StdEncoding.DecodeString(v.session.Spec.ClientKey)
	if err != nil {
		return nodeagent.Task{}, final(v.grip().failed, "the session's client key is not base64: %v", err)
	}
	var services corev1.ServiceList
	if err := v.Live.List(ctx, &services, client.InNamespace(v.session.Namespace)); err != nil {
		return nodeagent.Task{}, fmt.Errorf("reading what stands around the target: %w", err)
	}
	freezer, err := v.freezer(ctx)
	if err != nil {
		return nodeagent.Task{}, err
	}
	spec := v.session.Spec
	return nodeagent.Task{
		Session: string(v.session.UID), ClientKey: clientKey, Owner: spec.Owner.Username, Lease: v.leaseDuration(),
		Pod: v.pod, Container: spec.Target.Container, ContainerID: v.status().Frozen.ContainerID, Services: services.Items,
		ListenPorts: spec.ListenPorts, ListenAll: spec.ListenAll,
		Freezer: freezer, Attach: v.attaches(), Release: ptr.Deref(spec.ReleaseConnections, true),
	}, nil
}

// freezer is which of the kernel's hierarchies the node's administrator wants
// containers to be frozen in; empty where that was not said.
func (v *visit) freezer(ctx context.Context) (string, error) {
	var node corev1.Node
	err := v.Live.Get(ctx, client.ObjectKey{Name: v.status().Frozen.NodeName}, &node)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading node %s: %w", v.status().Frozen.NodeName, err)
	}
	return node.Annotations[v1alpha1.FreezerAnnotation], nil
}

// grantNodeAgent lets the owner reach exactly this agent.
func (v *visit) grantNodeAgent(ctx context.Context, pod string) error {
	name, labels := nodeagent.Name(v.session.UID), nodeagent.Labels(v.session)
	role := rbacv1ac.Role(name, v.AgentsNamespace).WithLabels(labels).WithRules(
		rbacv1ac.PolicyRule().WithAPIGroups("").WithResources("pods/portforward").WithResourceNames(pod).WithVerbs("get", "create"),
	)
	binding := rbacv1ac.RoleBinding(name, v.AgentsNamespace).WithLabels(labels).
		WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(name)).
		WithSubjects(rbacv1ac.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(v.session.Spec.Owner.Username))
	if err := v.Writer.Apply(ctx, role, client.FieldOwner(hold.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("granting the owner the way to the agent on the node: %w", err)
	}
	if err := v.Writer.Apply(ctx, binding, client.FieldOwner(hold.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("binding the owner to the grant: %w", err)
	}
	return nil
}

// agentRefused makes what admission says no to a final error.
func (v *visit) agentRefused(err error) error {
	var status apierrors.APIStatus
	if (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && errors.As(err, &status) {
		return final(v.grip().failed, "the API server refused the agent on the node (its namespace must allow privileged pods): %s", status.Status().Message)
	}
	return err
}
