package solo

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

const (
	// fieldManager of all that this machine makes.
	fieldManager = "understudy"
	// try is how long one request may take, tries how often it is sent when no
	// answer comes.
	try   = 10 * time.Second
	tries = 3
	// lookEvery is how often something is looked at that is waited for.
	lookEvery = 500 * time.Millisecond
)

// Make makes the agent, and what it is told. It waits, and says for what, while the
// container still starts and while an agent that has had the pod goes. Only that is
// interrupted: once something has been asked for, the caller gets it, or an error
// when nothing of it is left.
func (p *Plan) Make(ctx context.Context, spec v1alpha1.SessionSpec, waits func(string)) (*Session, error) {
	p.sweep(ctx)
	if err := p.await(ctx, waits); err != nil {
		return nil, err
	}
	if err := p.remainsAlone(ctx); err != nil {
		return nil, err
	}
	task, err := p.task(ctx, spec)
	if err != nil {
		return nil, err
	}
	if _, err := task.Config(); err != nil {
		return nil, err
	}
	p.setup = time.Duration(spec.SetupDeadlineSeconds) * time.Second
	agent, err := p.makeAgent(ctx, waits)
	if err != nil {
		return nil, err
	}
	// Killed from here on, this machine leaves an agent that never starts, or starts
	// too late and does nothing, or freezes for a lease that nobody renews.
	task.NotAfter = nodeagent.NotAfter(agent)
	data, fingerprint, err := task.Secret()
	s := p.session(spec, agent, fingerprint)
	making := context.WithoutCancel(ctx)
	if err == nil {
		err = p.makeSecret(making, nodeagent.SoloSecret(agent, data))
	}
	if err != nil {
		// Without it the agent never starts.
		ctx, cancel := context.WithTimeout(making, try)
		defer cancel()
		return nil, errors.Join(err, s.delete(ctx))
	}
	return s, nil
}

// sweep takes away what agents have left here whose owners' machines were gone:
// that thawed by themselves, or never began. What it may not, or cannot, is left to
// the next.
func (p *Plan) sweep(ctx context.Context) {
	pods := p.client.Steady().CoreV1().Pods(p.options.Namespace)
	found, err := pods.List(ctx, metav1.ListOptions{LabelSelector: nodeagent.SoloLabels})
	if err != nil {
		return
	}
	for i := range found.Items {
		agent := &found.Items[i]
		if !nodeagent.IsSolo(agent) || !agent.DeletionTimestamp.IsZero() {
			continue
		}
		if over, err := p.nobodys(ctx, agent); err == nil && over {
			_ = pods.Delete(ctx, agent.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(agent.UID))})
		}
	}
}

// await waits until the container can be frozen.
func (p *Plan) await(ctx context.Context, waits func(string)) error {
	for {
		why := nodeagent.NotYet(p.pod, p.target.Container)
		if why == "" {
			return nil
		}
		waits(why)
		if err := pause(ctx); err != nil {
			return err
		}
		pod, err := p.client.Steady().CoreV1().Pods(p.pod.Namespace).Get(ctx, p.pod.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err), err == nil && (pod.UID != p.pod.UID || !pod.DeletionTimestamp.IsZero()):
			return failure.New("start again once there is another pod", "pod %s is gone", p.pod.Name)
		case err != nil:
			return fmt.Errorf("reading pod %s: %w", p.pod.Name, err)
		}
		p.pod = pod
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(lookEvery):
		return nil
	}
}

// task is what the agent is for.
func (p *Plan) task(ctx context.Context, spec v1alpha1.SessionSpec) (nodeagent.Task, error) {
	key, err := base64.StdEncoding.DecodeString(spec.ClientKey)
	if err != nil {
		return nodeagent.Task{}, fmt.Errorf("decoding the client's key: %w", err)
	}
	services, err := p.client.Kube.CoreV1().Services(p.client.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nodeagent.Task{}, fmt.Errorf("reading the services around pod %s: %w", p.pod.Name, err)
	}
	return nodeagent.Task{
		Session: string(p.uid), ClientKey: key, Owner: p.options.Owner, Lease: time.Duration(spec.LeaseDurationSeconds) * time.Second,
		Pod: p.pod, Container: p.target.Container, ContainerID: nodeagent.Status(p.pod, p.target.Container).ContainerID,
		Services: services.Items, ListenPorts: spec.ListenPorts, ListenAll: spec.ListenAll,
		Release: ptr.Deref(spec.ReleaseConnections, true),
	}, nil
}

// makeAgent makes the pod, of which the API server lets there be one. One that is
// there and has nothing frozen any more is cleared away.
func (p *Plan) makeAgent(ctx context.Context, waits func(string)) (*corev1.Pod, error) {
	pods := p.client.Steady().CoreV1().Pods(p.options.Namespace)
	wanted := nodeagent.Solo(p.solo())
	failed := 0
	for {
		made, err := create(context.WithoutCancel(ctx), wanted, pods.Create)
		if err == nil {
			return made, nil
		}
		var status apierrors.APIStatus
		switch {
		case !apierrors.IsAlreadyExists(err) && (!errors.As(err, &status) || transient(err)):
			// The answer may have been lost: the next one tells.
			if failed++; failed >= tries {
				return nil, &failure.Failure{What: "making an agent on the node", Err: err, Hint: "try again; should it have been made all the same, it does nothing, and is cleared away by whoever comes next"}
			}
			if err := pause(ctx); err != nil {
				return nil, err
			}
			continue
		case !apierrors.IsAlreadyExists(err):
			return nil, refused(wanted.Namespace, err)
		}
		there, err := pods.Get(ctx, wanted.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("reading who has pod %s: %w", p.pod.Name, err)
		case there.Labels[v1alpha1.SessionUIDLabel] == string(p.uid):
			return there, nil // the answer was lost
		case !there.DeletionTimestamp.IsZero():
		default:
			over, err := p.nobodys(ctx, there)
			if err != nil {
				return nil, err
			}
			if !over {
				return nil, held(p.target, there)
			}
			if err := pods.Delete(ctx, there.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(there.UID))}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return nil, fmt.Errorf("clearing away agent %s, which has ended or never began: %w", there.Name, err)
			}
		}
		waits("the agent " + there.Name + " of a session before, which is on its way out")
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func transient(err error) bool {
	return apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsInternalError(err) || apierrors.IsTooManyRequests(err)
}

func create[T any](ctx context.Context, wanted *T, by func(context.Context, *T, metav1.CreateOptions) (*T, error)) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	return by(ctx, wanted, metav1.CreateOptions{FieldManager: fieldManager})
}

// makeSecret makes what the agent is told. One of the same name is this one, whose
// answer was lost, or was left by an agent that is gone.
func (p *Plan) makeSecret(ctx context.Context, wanted *corev1.Secret) error {
	secrets := p.client.Steady().CoreV1().Secrets(wanted.Namespace)
	var err error
	for range tries {
		if _, err = create(ctx, wanted, secrets.Create); err == nil {
			return nil
		}
		switch {
		case apierrors.IsAlreadyExists(err):
			// It may not be read. It is made anew, with the same key.
			if gone := secrets.Delete(ctx, wanted.Name, metav1.DeleteOptions{}); gone != nil && !apierrors.IsNotFound(gone) {
				return fmt.Errorf("clearing away secret %s, which an agent before has left: %w", wanted.Name, gone)
			}
		case errStatus(err) >= 400 && errStatus(err) < 500 && !transient(err):
			return fmt.Errorf("making the agent's secret: %w", err)
		}
	}
	return fmt.Errorf("making the agent's secret: %w", err)
}

func errStatus(err error) int32 {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return http.StatusServiceUnavailable
	}
	return status.Status().Code
}

// session is the account that is kept here of what is in the cluster.
func (p *Plan) session(spec v1alpha1.SessionSpec, agent *corev1.Pod, fingerprint string) *Session {
	kept := &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name, UID: p.uid, CreationTimestamp: agent.CreationTimestamp},
		Spec:       spec,
	}
	kept.Status.Frozen = &v1alpha1.FrozenPod{
		UID: p.pod.UID, NodeName: p.pod.Spec.NodeName, ContainerID: nodeagent.Status(p.pod, p.target.Container).ContainerID,
	}
	kept.Status.Agent = &v1alpha1.Agent{
		Incarnation: 1, Namespace: agent.Namespace, PodName: agent.Name, PodUID: agent.UID, NodeName: agent.Spec.NodeName,
		Port: settings.DefaultPort, CertificateFingerprint: fingerprint,
	}
	s := &Session{plan: p, agent: agent, follow: session.Local(kept), deadline: time.Now().Add(time.Duration(spec.SetupDeadlineSeconds) * time.Second)}
	s.set(v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone, "The pod is this session's alone.")
	s.set(v1alpha1.ConditionFrozen, metav1.ConditionFalse, v1alpha1.ReasonNodeAgentPending, "it was just made.")
	s.set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNodeAgentPending, "Waiting for the agent on node "+agent.Spec.NodeName+".")
	return s
}
