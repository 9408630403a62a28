package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
	"understudy.dev/understudy/operator/pending"
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
	// Set where the kubelet did not let run what was to thaw: what it says, and how
	// long it is until the next is made.
	rejected string
	next     time.Duration
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
	var spent []*corev1.Pod
	for i := range t.agentPods {
		pod := &t.agentPods[i]
		number := nodeagent.Number(pod)
		highest = max(highest, number)
		ended, proved, message := nodeagent.Ended(pod)
		if ended && proved {
			proof = message
		}
		if nodeagent.Spent(pod) {
			spent = append(spent, pod)
		}
		if ended && (proved || !pod.DeletionTimestamp.IsZero()) || terminal(pod) {
			continue
		}
		working = "the agent " + pod.Name + " on node " + t.node + " to end"
		if nodeagent.NeverRan(pod) {
			working += ": " + strings.TrimSuffix(pending.Reason(pod, nil), ".")
		}
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
		return "", working, nil
	}
	if waiting, err := t.rest(ctx, spent); err != nil || waiting != "" {
		return "", waiting, err
	}
	target, err := t.nodeUID(ctx)
	if err != nil {
		return "", "", err
	}
	pod := nodeagent.Thaw(nodeagent.Options{
		Namespace: t.namespace, SessionNamespace: t.session.Namespace, SessionName: t.session.Name, SessionUID: t.uid,
		Number: highest + 1, Image: t.Agent.Image, PullPolicy: t.Agent.PullPolicy, NodeName: t.node, PriorityClass: t.Agent.PriorityClass, Target: target,
	})
	if err := t.createAgent(ctx, pod); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", "", fmt.Errorf("making an agent that thaws: %w", err)
	}
	return "", "an agent that thaws, as the one before could not be asked", nil
}

// nodeUID is what the node calls the pod, which may be gone from the API: as the lock
// says, or, of an older operator's, the pod's UID.
func (t *thawing) nodeUID(ctx context.Context) (types.UID, error) {
	held := &coordinationv1.Lease{}
	err := t.Live.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: nodeagent.LockName(t.pod)}, held)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading the lock of the pod: %w", err)
	}
	return cmp.Or(types.UID(held.Annotations[lockNodeUIDAnnotation]), t.pod), nil
}

// rest says what is waited for before another agent that thaws is made; empty when
// it may be made now. Of those that the kubelet did not let run the last one is kept
// until then: when it was made and which number it has is all that is remembered.
func (t *thawing) rest(ctx context.Context, spent []*corev1.Pod) (waiting string, err error) {
	if len(spent) == 0 {
		return "", nil
	}
	last := slices.MaxFunc(spent, func(a, b *corev1.Pod) int { return cmp.Compare(nodeagent.Number(a), nodeagent.Number(b)) })
	for _, pod := range spent {
		if pod == last {
			continue
		}
		if err := t.drop(ctx, pod); err != nil {
			return "", err
		}
	}
	times := max(1, int(nodeagent.Number(last)-t.made))
	at := last.CreationTimestamp.Add(nodeagent.Retry(times))
	if t.next = at.Sub(t.now()); t.next <= 0 {
		return "", nil
	}
	t.rejected = strings.TrimSuffix(pending.Reason(last, nil), ".")
	return fmt.Sprintf("an agent that thaws, which node %s has not let run (%s; %d so far): the next is made at %s", t.node, t.rejected, times, at.UTC().Format(time.TimeOnly)), nil
}

// createAgent makes an agent's pod. Where its priority is refused (some clusters let
// critical pods be only where a quota says so) it is made without: one that can be
// thrown out is better than none.
func (r *Reconciler) createAgent(ctx context.Context, pod *corev1.Pod) error {
	err := r.Writer.Create(ctx, pod, client.FieldOwner(hold.FieldManager))
	if pod.Spec.PriorityClassName == "" || !apierrors.IsForbidden(err) {
		return err
	}
	pod.Spec.PriorityClassName = ""
	return r.Writer.Create(ctx, pod, client.FieldOwner(hold.FieldManager))
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
		if err := t.drop(ctx, &t.agentPods[i]); err != nil {
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

// drop deletes a pod whose end was read, and lets it go.
func (t *thawing) drop(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp.IsZero() {
		if err := t.deletePod(ctx, pod); err != nil {
			return err
		}
	}
	return t.release(ctx, pod)
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
