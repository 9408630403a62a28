package session

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// frozenWorld is a world whose node has agents, of which the test plays what
// they do to the one pod there is: worker.
type frozenWorld struct {
	*world
	agents string
	// frozen is what the kernel says.
	frozen bool
	// mute agents run but never say that they froze; dead ones do not thaw when
	// they are ended, as neither they nor their guard are there any more.
	mute, dead bool
	// full is a node whose kubelet rejects every pod.
	full bool
	// froze counts how often the container was frozen.
	froze int
}

func newFrozenWorld(w *world, changes ...func(*corev1.Pod)) *frozenWorld {
	w.t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agents-"}}
	w.must(w.Create(w.ctx, namespace))
	f := &frozenWorld{world: w, agents: namespace.Name}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "worker", Labels: map[string]string{"app": "worker"}},
		Spec: corev1.PodSpec{
			NodeName: w.node, TerminationGracePeriodSeconds: ptr.To(int64(30)),
			Containers: []corev1.Container{{Name: "worker", Image: "registry.example/worker:1"}},
		},
	}
	for _, change := range changes {
		change(pod)
	}
	w.must(w.Create(w.ctx, pod))
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "worker", ContainerID: "containerd://0123456789abcdef", Image: "x", ImageID: "x", Ready: true, Started: ptr.To(true),
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
	w.must(w.Status().Update(w.ctx, pod))
	return f
}

func (f *frozenWorld) target() *corev1.Pod {
	f.t.Helper()
	pod := &corev1.Pod{}
	err := f.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "worker"}, pod)
	if apierrors.IsNotFound(err) {
		return nil
	}
	f.must(err)
	return pod
}

// askFreeze creates a session as the command line tool does.
func (f *frozenWorld) askFreeze(name string, changes ...func(*v1alpha1.SessionSpec)) *v1alpha1.Session {
	f.t.Helper()
	s := &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: v1alpha1.SessionSpec{
			Target:    v1alpha1.Target{Resource: "pods", Name: "worker", UID: f.target().UID, Container: "worker"},
			Takeover:  v1alpha1.TakeoverFreeze,
			Owner:     v1alpha1.Owner{Username: name + "@example.com"},
			ClientKey: clientKey,
		},
	}
	for _, change := range changes {
		change(&s.Spec)
	}
	f.must(f.Create(f.ctx, s))
	return s
}

func (f *frozenWorld) freezer(writer client.Client) *Reconciler {
	r := f.operator(writer)
	r.AgentsNamespace = f.agents
	return r
}

func (f *frozenWorld) agentPods() []corev1.Pod {
	f.t.Helper()
	var pods corev1.PodList
	f.must(f.List(f.ctx, &pods, client.InNamespace(f.agents)))
	return pods.Items
}

// playNode makes one move of the node's kubelet and of the agents on it.
func (f *frozenWorld) playNode() {
	f.t.Helper()
	for _, pod := range f.agentPods() {
		ended, _, _ := nodeagent.Ended(&pod)
		running := nodeagent.Status(&pod, nodeagent.AgentContainer)
		switch {
		case f.full && running == nil && pod.Status.Phase == corev1.PodPending:
			pod.Status.Phase, pod.Status.Reason, pod.Status.Message = corev1.PodFailed, "OutOfpods", "Pod was rejected: no room for one more"
			f.must(f.Status().Update(f.ctx, &pod))
		case pod.Status.Phase == corev1.PodFailed:
		case ended && !pod.DeletionTimestamp.IsZero():
			f.must(client.IgnoreNotFound(f.Delete(f.ctx, &pod, client.GracePeriodSeconds(0))))
		case ended:
		case nodeagent.OnlyThaws(&pod):
			f.frozen = false
			f.endAgent(&pod, 0, "thawed by an agent that only thaws")
		case !pod.DeletionTimestamp.IsZero() && f.dead:
			f.endAgent(&pod, 137, "")
		case !pod.DeletionTimestamp.IsZero():
			f.frozen = false
			f.endAgent(&pod, 0, "thawed")
		case running == nil:
			if !f.mute {
				f.frozen = true
				f.froze++
			}
			f.setAgent(&pod, corev1.PodRunning, corev1.ContainerStatus{Ready: !f.mute, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
		}
	}
}

func (f *frozenWorld) endAgent(pod *corev1.Pod, code int32, message string) {
	phase := corev1.PodSucceeded
	if code != 0 {
		phase = corev1.PodRunning
	}
	f.setAgent(pod, phase, corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message, Reason: "Error", FinishedAt: metav1.Now()}}})
}

func (f *frozenWorld) setAgent(pod *corev1.Pod, phase corev1.PodPhase, status corev1.ContainerStatus) {
	f.t.Helper()
	status.Name, status.Image, status.ImageID = nodeagent.AgentContainer, "x", "x"
	pod.Status.Phase, pod.Status.ContainerStatuses = phase, []corev1.ContainerStatus{status}
	if err := f.Status().Update(f.ctx, pod); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		f.t.Fatal(err)
	}
}

// driveNode plays the node and the operator until it holds.
func (f *frozenWorld) driveNode(r *Reconciler, name, what string, holds func() bool) {
	f.t.Helper()
	f.until(what, func() bool {
		f.playNode()
		if err := f.reconcile(r, name); err != nil {
			f.t.Fatalf("reconciling: %v", err)
		}
		return holds()
	})
}

// sweepLock runs the sweep once over the lock of the worker.
func (f *frozenWorld) sweepLock(r *Reconciler, lock string) error {
	_, err := (&ThawSweeper{r}).Reconcile(f.ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: f.agents, Name: lock}})
	return err
}
