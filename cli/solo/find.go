package solo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/pending"
)

// Resource is what a freeze without an operator is called for programs: it has the
// fields of a Session, and no API server has it.
var Resource = metav1.TypeMeta{APIVersion: "cli." + v1alpha1.GroupVersion.Group + "/v1", Kind: "Session"}

// Elsewhere finds the freezes that somebody has made without an operator, by their
// agents.
type Elsewhere struct {
	client *session.Client
	// namespace of agents, or of the pods they freeze; empty for all.
	namespace string
	// agents are made in; empty for the namespaces of the pods.
	agents string
}

// NewElsewhere looks in the client's namespace, or in all where it has none, and in
// the one that agents are made in, where that is said.
func NewElsewhere(client *session.Client, agents string) *Elsewhere {
	return &Elsewhere{client: client, namespace: client.Namespace, agents: agents}
}

// Places are the namespaces that have to be looked at.
func (e *Elsewhere) Places() []string {
	if e.namespace == "" || e.agents == "" || e.agents == e.namespace {
		return []string{e.namespace}
	}
	return []string{e.namespace, e.agents}
}

// Sessions are the accounts of them all, in the order of namespaces and names.
func (e *Elsewhere) Sessions(ctx context.Context) ([]v1alpha1.Session, error) {
	var all []v1alpha1.Session
	for _, place := range e.Places() {
		found, _, err := e.List(ctx, place)
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// List reads those of one place; the version is what a watch goes on from.
func (e *Elsewhere) List(ctx context.Context, place string) (sessions []v1alpha1.Session, version string, err error) {
	list, err := e.client.Steady().CoreV1().Pods(place).List(ctx, metav1.ListOptions{LabelSelector: nodeagent.SoloLabels})
	switch {
	case apierrors.IsForbidden(err):
		in := "of namespace " + place
		if place == "" {
			in = "of all namespaces"
		}
		return nil, "", &failure.Failure{What: "you may not list the pods " + in, Err: err}
	case err != nil:
		return nil, "", fmt.Errorf("listing agents: %w", err)
	}
	for i := range list.Items {
		if s := e.account(&list.Items[i], place); s != nil {
			sessions = append(sessions, *s)
		}
	}
	slices.SortFunc(sessions, func(a, b v1alpha1.Session) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return sessions, list.ResourceVersion, nil
}

// Watch tells of every change in one place from a version on, as session.Client's
// does of Sessions.
func (e *Elsewhere) Watch(ctx context.Context, place, version string, tell func(s *v1alpha1.Session, gone bool) error) error {
	seconds := int64(session.LookFor.Seconds())
	watching, err := e.client.Steady().CoreV1().Pods(place).Watch(ctx, metav1.ListOptions{LabelSelector: nodeagent.SoloLabels, ResourceVersion: version, TimeoutSeconds: &seconds})
	if err != nil {
		return fmt.Errorf("watching agents: %w", err)
	}
	defer watching.Stop()
	for event := range watching.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			return nil // an error of the watch's, as a version that is too old
		}
		gone := event.Type == watch.Deleted || nodeagent.Over(pod)
		if s := e.told(pod, place); s != nil {
			if err := tell(s, gone); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// account is what there is to say of an agent found in a place; nil for one that
// has nothing frozen any more, that only thaws, or that is of another namespace.
func (e *Elsewhere) account(agent *corev1.Pod, place string) *v1alpha1.Session {
	if nodeagent.Over(agent) {
		return nil
	}
	return e.told(agent, place)
}

func (e *Elsewhere) told(agent *corev1.Pod, place string) *v1alpha1.Session {
	namespace, _, _ := nodeagent.SoloTarget(agent)
	if !nodeagent.IsSolo(agent) || nodeagent.OnlyThaws(agent) || place != e.namespace && namespace != e.namespace {
		return nil
	}
	return Account(agent)
}

// Account is what an agent's pod tells of the freeze that it is for, as a Session of
// which there is no resource: its name and namespace are the pod's.
func Account(agent *corev1.Pod) *v1alpha1.Session {
	_, name, uid := nodeagent.SoloTarget(agent)
	s := &v1alpha1.Session{TypeMeta: Resource}
	s.Namespace, s.Name, s.UID = agent.Namespace, agent.Name, agent.UID
	s.ResourceVersion = agent.ResourceVersion
	s.CreationTimestamp, s.DeletionTimestamp = agent.CreationTimestamp, agent.DeletionTimestamp
	s.Spec.Takeover = v1alpha1.TakeoverFreeze
	s.Spec.Target = v1alpha1.Target{Resource: "pods", Name: cmp.Or(name, string(uid)), UID: uid, Container: agent.Annotations[nodeagent.ContainerAnnotation]}
	// Of a user with an @ of their own the last one is before the machine.
	said := agent.Annotations[nodeagent.OwnerAnnotation]
	s.Spec.Owner.Username = said
	if at := strings.LastIndex(said, "@"); at > 0 {
		s.Spec.Owner = v1alpha1.Owner{Username: said[:at], Hostname: said[at+1:]}
	}
	s.Status.Frozen = &v1alpha1.FrozenPod{UID: uid, NodeName: agent.Spec.NodeName}
	s.Status.Agent = &v1alpha1.Agent{Incarnation: 1, Namespace: agent.Namespace, PodName: agent.Name, PodUID: agent.UID, NodeName: agent.Spec.NodeName}
	set := func(kind string, is bool, reason, message string) {
		status := metav1.ConditionFalse
		if is {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: agent.CreationTimestamp})
	}
	set(v1alpha1.ConditionClaimed, true, v1alpha1.ReasonDone, "The pod is this session's alone.")
	if nodeagent.Ready(agent) {
		set(v1alpha1.ConditionFrozen, true, v1alpha1.ReasonDone, fmt.Sprintf("The kernel of node %s has confirmed that the container is frozen.", agent.Spec.NodeName))
		set(v1alpha1.ConditionReady, true, v1alpha1.ReasonDone, "Ready.")
		return s
	}
	why := fmt.Sprintf("Waiting for the agent on node %s: %s.", agent.Spec.NodeName, strings.TrimSuffix(pending.Reason(agent, nil), "."))
	if status := nodeagent.Status(agent, nodeagent.AgentContainer); status != nil && status.State.Running != nil {
		why = fmt.Sprintf("The agent on node %s runs, and does not say that the container is frozen.", agent.Spec.NodeName)
	}
	set(v1alpha1.ConditionFrozen, false, v1alpha1.ReasonNodeAgentPending, why)
	set(v1alpha1.ConditionReady, false, v1alpha1.ReasonNodeAgentPending, why)
	return s
}

// Is says whether a Session is the account of a freeze without an operator.
func Is(s *v1alpha1.Session) bool { return s.APIVersion == Resource.APIVersion }
