package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/nodeagent"
)

// thawing brings one pod to be thawed, with the Session or, from the lock
// alone, without it. It keeps nothing between two runs.
//
// What proves it is an agent that ended with code 0: it ends so only after the
// kernel has confirmed to it that nothing is frozen. Its pod has a finalizer,
// so that this can be read however the pod was deleted.
type thawing struct {
	*Reconciler
	namespace string // of the agents
	session   types.NamespacedName
	uid       types.UID
	pod       types.UID
	node      string
	made      int32  // the last number of an agent that may have been made; 0 is none
	proof     string // empty until there is one
	silentAt  time.Time
	prove     func(context.Context, string) error
	doubtful  bool
	agentPods []corev1.Pod
}

// run does what can be done now, and answers what it waits for; empty when the
// pod is thawed and all of the session's is gone from the agents' namespace.
func (t *thawing) run(ctx context.Context) (waiting string, err error) {
	var pods corev1.PodList
	if err := t.Live.List(ctx, &pods, client.InNamespace(t.namespace), client.MatchingLabels{v1alpha1.SessionUIDLabel: string(t.uid)}); err != nil {
		return "", fmt.Errorf("listing the agents on the node: %w", err)
	}
	t.agentPods = pods.Items
	if t.proof == "" {
		proof, waiting, err := t.seek(ctx)
		if err != nil || waiting != "" {
			return waiting, err
		}
		t.proof = proof
		if err := t.prove(ctx, proof); err != nil {
			return "", err
		}
	}
	return t.clear(ctx)
}

// seek looks for the proof, and does what brings it about.
func (t *thawing) seek(ctx context.Context) (proof, waiting string, err error) {
	if t.made == 0 && len(t.agentPods) == 0 {
		return "no agent was made for it", "", nil
	}
	working := ""
	highest := t.made
	for i := range t.agentPods {
		pod := &t.agentPods[i]
		number := nodeagent.Number(pod)
		highest = max(highest, number)
		ended, proved, message := nodeagent.Ended(pod)
		if ended && proved {
			proof = message
		}
		if ended && (proved || !pod.DeletionTimestamp.IsZero()) || terminal(pod) {
			continue
		}
		working = pod.Name
		if pod.DeletionTimestamp.IsZero() && !nodeagent.OnlyThaws(pod) {
			if err := t.deletePod(ctx, pod); err != nil {
				return "", "", err
			}
		}
	}
	// As long as one works it could still freeze.
	if working == "" && proof != "" {
		return proof, "", nil
	}
	node, err := (&visit{Reconciler: t.Reconciler}).node(ctx, t.node)
	switch {
	case err != nil:
		return "", "", err
	case node == hold.NodeGone:
		t.doubtful = true
		return "its node " + t.node + " is gone", "", nil
	case node == hold.NodeNotReady && !t.now().Before(t.silentAt):
		// The agent and its guard count the owner's silence themselves.
		t.doubtful = true
		return "its node " + t.node + " is not heard of, and its agent thaws by itself", "", nil
	case node == hold.NodeNotReady:
		return "", "node " + t.node + ", which is not Ready", nil
	case working != "":
		return "", "the agent " + working + " on node " + t.node + " to end", nil
	}
	pod := nodeagent.Thaw(nodeagent.Options{
		Namespace: t.namespace, SessionNamespace: t.session.Namespace, SessionName: t.session.Name, SessionUID: t.uid,
		Number: highest + 1, Image: t.Agent.Image, PullPolicy: t.Agent.PullPolicy, NodeName: t.node, Target: t.pod,
	})
	if err := t.Writer.Create(ctx, pod, client.FieldOwner(hold.FieldManager)); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", "", fmt.Errorf("making an agent that thaws: %w", err)
	}
	return "", "an agent that thaws, as the one before could not be asked", nil
}

// terminal says that the kubelet starts nothing of a pod any more.
func terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

func (t *thawing) deletePod(ctx context.Context, pod *corev1.Pod) error {
	if err := t.Writer.Delete(ctx, pod.DeepCopy(), client.Preconditions{UID: &pod.UID}); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting the agent %s: %w", pod.Name, err)
	}
	return nil
}

// clear takes away all that was made for the session in the agents' namespace;
// the lock last, as it is the memory of the rest.
func (t *thawing) clear(ctx context.Context) (waiting string, err error) {
	for i := range t.agentPods {
		pod := &t.agentPods[i]
		if pod.DeletionTimestamp.IsZero() {
			if err := t.deletePod(ctx, pod); err != nil {
				return "", err
			}
		}
		if err := t.release(ctx, pod); err != nil {
			return "", err
		}
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: t.namespace, Name: name}
	}
	name := nodeagent.Name(t.uid)
	objects := []client.Object{&rbacv1.RoleBinding{ObjectMeta: meta(name)}, &rbacv1.Role{ObjectMeta: meta(name)}}
	for number := int32(1); number <= t.made; number++ {
		objects = append(objects, &corev1.Secret{ObjectMeta: meta(nodeagent.SecretName(t.uid, number))})
	}
	for _, object := range objects {
		// Named for the session's UID, all of them are ours.
		if err := t.Writer.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("deleting %T %s: %w", object, object.GetName(), err)
		}
	}
	return "", t.unlock(ctx)
}

// release takes the finalizer off a pod whose end was read.
func (t *thawing) release(ctx context.Context, pod *corev1.Pod) error {
	if !slices.Contains(pod.Finalizers, v1alpha1.AgentFinalizer) {
		return nil
	}
	before := pod.DeepCopy()
	controllerutil.RemoveFinalizer(pod, v1alpha1.AgentFinalizer)
	err := t.Writer.Patch(ctx, pod, client.MergeFrom(before), client.FieldOwner(hold.FieldManager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("letting go of the agent %s: %w", pod.Name, err)
	}
	return nil
}

func (t *thawing) unlock(ctx context.Context) error {
	held := &coordinationv1.Lease{}
	err := t.Live.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: nodeagent.LockName(t.pod)}, held)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the lock of the pod: %w", err)
	}
	if _, uid, _ := nodeagent.SessionOf(held); uid != t.uid {
		return nil
	}
	uid := held.UID
	if err := t.Writer.Delete(ctx, held, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("unlocking the pod: %w", err)
	}
	return nil
}
