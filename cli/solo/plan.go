package solo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/fence/plan"
	"understudy.dev/understudy/operator/hold/standing"
	"understudy.dev/understudy/operator/nodeagent"
)

// Options say how the agent is made.
type Options struct {
	// Namespace of the agent; empty for the target's own.
	Namespace string
	// Image of the agent.
	Image string
	// Owner is who is named to whoever comes second.
	Owner string
	// Wishes are what the user wants of its pod.
	Wishes nodeagent.Wishes
}

// Plan is a freeze of one pod that nothing was found to stand against.
type Plan struct {
	client  *session.Client
	options Options
	uid     types.UID
	pod     *corev1.Pod
	target  *target.Target
	// only is the workload whose only pod it is, and has to remain; nil for a pod of
	// nobody's.
	only *metav1.OwnerReference
	// setup is how long the agent is waited for.
	setup time.Duration
}

// Check asks all that can be asked before anything is made: whether the container
// would live through a freeze, whether somebody else has the pod, whether the user
// has the rights, and whether the API server would take the agent. Errors that the
// user can act on are *failure.Failure.
func Check(ctx context.Context, client *session.Client, t *target.Target, o Options) (*Plan, error) {
	if o.Namespace == "" {
		o.Namespace = client.Namespace
	}
	p := &Plan{client: client, options: o, uid: uuid.NewUUID(), target: t}
	var err error
	if p.pod, err = client.Kube.CoreV1().Pods(client.Namespace).Get(ctx, t.Name, metav1.GetOptions{}); err != nil {
		return nil, fmt.Errorf("reading pod %s: %w", t.Name, err)
	}
	if err := p.suits(); err != nil {
		return nil, err
	}
	if p.only, err = standing.WorkloadOf(p.pod, p.above(ctx)); err != nil {
		return nil, err
	}
	if o.Namespace == client.Namespace {
		t.Notices = append(t.Notices, fmt.Sprintf("whoever may run commands in pods of namespace %s can get onto node %s as root through the agent while it is there, and who may read its secrets has the agent's key: "+
			"another namespace, which is closed to them, is named with --agent-namespace", o.Namespace, p.Node()))
	}
	var rights, held, taken error
	var group errgroup.Group
	group.Go(func() error { rights = p.rights(ctx); return nil })
	group.Go(func() error { held = p.heldByOperator(ctx); return nil })
	group.Go(func() error { taken = p.rehearse(ctx); return nil })
	_ = group.Wait() // each has an error of its own
	for _, err := range []error{rights, held, taken} {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Node that the agent will be on.
func (p *Plan) Node() string { return p.pod.Spec.NodeName }

// suits fails for a container that cannot be frozen, and tells what will be
// different for one that can.
func (p *Plan) suits() error {
	if p.pod.UID != p.target.UID {
		return failure.New("start again", "pod %s was deleted and made anew in this moment", p.pod.Name)
	}
	if nodeagent.IsSolo(p.pod) {
		return failure.New("name the pod that it freezes", "pod %s is one of understudy's own", p.pod.Name)
	}
	if nodeagent.Container(&p.pod.Spec, p.target.Container) == nil {
		return failure.New("choose another with /container/NAME", "pod %s has no container %s", p.pod.Name, p.target.Container)
	}
	for _, reason := range plan.Preflight(p.pod, p.target.Container) {
		switch {
		case reason.Code == "NotStarted": // it is waited for
		case reason.Final:
			return failure.New("holding a workload at zero takes the operator: "+session.InstallHint, "pod %s cannot be frozen: %s", p.pod.Name, reason.Message)
		default:
			p.target.Notices = append(p.target.Notices, "meanwhile: "+reason.Message)
		}
	}
	return nil
}

func (p *Plan) solo() nodeagent.SoloOptions {
	return nodeagent.SoloOptions{
		Namespace: p.options.Namespace, Session: p.uid, Owner: p.options.Owner, Image: p.options.Image, Target: p.pod, Container: p.target.Container, Setup: p.setup,
		Wishes: p.options.Wishes,
	}
}

// rehearse asks the API server whether it would take the agent.
func (p *Plan) rehearse(ctx context.Context) error {
	agent := nodeagent.Solo(p.solo())
	_, err := p.client.Kube.CoreV1().Pods(agent.Namespace).Create(ctx, agent, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return p.heldByAnother(ctx)
	}
	return refused(agent.Namespace, err)
}

// heldByAnother fails where the agent of that name is somebody's who still has the
// pod.
func (p *Plan) heldByAnother(ctx context.Context) error {
	agent, err := p.client.Kube.CoreV1().Pods(p.options.Namespace).Get(ctx, nodeagent.SoloName(p.pod.UID), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil // it has just gone
	case err != nil:
		return fmt.Errorf("reading who has pod %s: %w", p.pod.Name, err)
	case !agent.DeletionTimestamp.IsZero():
		return nil // it is waited for
	}
	if over, err := p.nobodys(ctx, agent); err != nil || over {
		return err // it is cleared away
	}
	return held(p.target, agent)
}

// nobodys says whether an agent has nothing frozen and never will: it has ended, or
// its owner went before it began.
func (p *Plan) nobodys(ctx context.Context, agent *corev1.Pod) (bool, error) {
	if nodeagent.Over(agent) {
		return true, nil
	}
	if !nodeagent.NeverRan(agent) {
		return false, nil
	}
	now, err := p.now(ctx)
	return err == nil && nodeagent.Abandoned(agent, now), err
}

// now is the API server's time, by which the ages of what it has are counted: it is
// in its answer to a rehearsal.
func (p *Plan) now(ctx context.Context) (time.Time, error) {
	agent := nodeagent.Solo(p.solo())
	agent.Name, agent.GenerateName = "", "freeze-rehearsal-"
	made, err := p.client.Kube.CoreV1().Pods(agent.Namespace).Create(ctx, agent, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if err != nil {
		return time.Time{}, refused(agent.Namespace, err)
	}
	return made.CreationTimestamp.Time, nil
}

// held says who has the pod.
func held(t *target.Target, agent *corev1.Pod) error {
	owner, at := agent.Annotations[nodeagent.OwnerAnnotation], agent.CreationTimestamp.UTC().Format(time.RFC3339)
	until := "one that was cut off thaws by itself when its lease has run out, and any at once with"
	if nodeagent.NeverRan(agent) {
		until = "its agent does not run yet, and one that does not by " + nodeagent.NotAfter(agent).UTC().Format(time.RFC3339) + " is taken away by whoever comes next; at once with"
	}
	return failure.New(fmt.Sprintf("talk to its owner, or wait; %s:\nkubectl delete pod %s -n %s", until, agent.Name, agent.Namespace),
		"%s is held by %s since %s (without an operator, by pod %s in namespace %s)", t, owner, at, agent.Name, agent.Namespace)
}

// heldByOperator fails where an operator's session has the pod, as far as the user
// may know; else the node's records tell the agent.
func (p *Plan) heldByOperator(ctx context.Context) error {
	sessions, _, err := p.client.List(ctx)
	if err != nil {
		return nil //nolint:nilerr // none are known here, or they are not for this user
	}
	for i := range sessions {
		s := &sessions[i]
		if frozen := s.Status.Frozen; frozen != nil && frozen.UID == p.pod.UID && frozen.Thawed == "" {
			return failure.New("wait, or talk to its owner; who has the right \"end\" on it may end it: understudy end "+s.Name+" --force",
				"%s is held by %s since %s (session %s)", p.target, s.Spec.Owner.Username, s.CreationTimestamp.UTC().Format(time.RFC3339), s.Name)
		}
	}
	return nil
}

// refused says in a user's words why the API server does not take the agent.
func refused(namespace string, err error) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &status):
		return fmt.Errorf("asking the API server for an agent on the node: %w", err)
	case apierrors.IsNotFound(err):
		return failure.New("name another with --agent-namespace", "there is no namespace %s, in which the agent is to be made", namespace)
	case isPodSecurity(status):
		return &failure.Failure{
			What: fmt.Sprintf("namespace %s does not let in the agent that freezes, which has to be privileged", namespace), Err: errors.New(status.Status().Message),
			Hint: "name a namespace that does with --agent-namespace (agent.namespace); an administrator makes one:\n" +
				"kubectl create namespace understudy-agents\n" +
				"kubectl label namespace understudy-agents pod-security.kubernetes.io/enforce=privileged\n" +
				"or installs the operator, which has one of its own: --set freeze.enabled=true",
		}
	}
	return &failure.Failure{
		What: "the API server refuses the agent that freezes, in namespace " + namespace, Err: errors.New(status.Status().Message),
		Hint: "what refuses it says so above; another namespace is named with --agent-namespace",
	}
}
