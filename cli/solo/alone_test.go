package solo

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// deployed makes worker-0 the only pod of the deployment worker, and answers how a
// ReplicaSet of that is made, and what its pods are owned by.
func (w *world) deployed() func(name string) []metav1.OwnerReference {
	w.t.Helper()
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.pod.Labels}, Spec: corev1.PodSpec{Containers: w.pod.Spec.Containers}}
	selector := &metav1.LabelSelector{MatchLabels: w.pod.Labels}
	d, err := w.admin.Kube.AppsV1().Deployments(w.pod.Namespace).Create(w.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "worker"}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(1)), Selector: selector, Template: template},
	}, metav1.CreateOptions{FieldManager: "team"})
	w.must(err)
	set := func(name string) []metav1.OwnerReference {
		w.t.Helper()
		made, err := w.admin.Kube.AppsV1().ReplicaSets(w.pod.Namespace).Create(w.t.Context(), &appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}},
			Spec:       appsv1.ReplicaSetSpec{Selector: selector, Template: template},
		}, metav1.CreateOptions{})
		w.must(err)
		return []metav1.OwnerReference{*metav1.NewControllerRef(made, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	}
	w.pod.OwnerReferences = set("worker-a")
	w.pod, err = w.admin.Kube.CoreV1().Pods(w.pod.Namespace).Update(w.t.Context(), w.pod, metav1.UpdateOptions{})
	w.must(err)
	return set
}

func (w *world) another(name string, owners []metav1.OwnerReference) {
	w.t.Helper()
	_, err := w.admin.Kube.CoreV1().Pods(w.pod.Namespace).Create(w.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: w.pod.Labels, OwnerReferences: owners}, Spec: w.pod.Spec,
	}, metav1.CreateOptions{})
	w.must(err)
}

func (w *world) scale(replicas int32) {
	w.t.Helper()
	deployments := w.admin.Kube.AppsV1().Deployments(w.pod.Namespace)
	scale, err := deployments.GetScale(w.t.Context(), "worker", metav1.GetOptions{})
	w.must(err)
	scale.Spec.Replicas = replicas
	_, err = deployments.UpdateScale(w.t.Context(), "worker", scale, metav1.UpdateOptions{FieldManager: "kubectl-scale"})
	w.must(err)
}

// Another pod of the workload ends the session as an operator would end it, in the
// same words.
func TestAnotherPodComes(t *testing.T) {
	for name, test := range map[string]struct {
		does func(*world, func(string) []metav1.OwnerReference)
		says string
	}{
		"its number is raised": {func(w *world, _ func(string) []metav1.OwnerReference) {
			w.scale(2)
			w.another("worker-1", w.pod.OwnerReferences)
		}, "pod worker-1 has come beside the frozen pod worker-0 of deployment worker (its number is 2 now, last written by kubectl-scale), "},
		"a rollout begins": {func(w *world, set func(string) []metav1.OwnerReference) {
			w.another("worker-b", set("worker-b"))
		}, "pod worker-b has come beside the frozen pod worker-0 of deployment worker"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			set := w.deployed()
			s := w.made(Options{})
			w.freezes()
			w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionReady) })
			// These are no reason.
			w.another("bare", nil)
			w.another("stranger", []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Farm", Name: "north", UID: "farm", Controller: ptr.To(true)}})
			test.does(w, set)
			state := w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
			var known *failure.Failure
			if !errors.As(state.Ended(), &known) || !strings.HasPrefix(known.What, test.says) || !strings.Contains(known.What, "--copy-target --scale-down") || !strings.Contains(known.Hint, "takes the operator") {
				t.Errorf("it ends with %+v", state.Ended())
			}
		})
	}
}

// One that came while the container was waited for keeps an agent from being made.
func TestAnotherPodCameBefore(t *testing.T) {
	w := newWorld(t, nil)
	w.deployed()
	plan, err := w.check(Options{})
	w.must(err)
	w.another("worker-1", w.pod.OwnerReferences)
	_, public, err := session.NewKey()
	w.must(err)
	_, err = plan.Make(t.Context(), v1alpha1.SessionSpec{Target: plan.target.Target, Takeover: v1alpha1.TakeoverFreeze, ClientKey: public, LeaseDurationSeconds: 60, SetupDeadlineSeconds: 120}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "pod worker-1 has come beside the frozen pod worker-0") {
		t.Errorf("it is made, with %v", err)
	}
	if agent := w.frozenBy(); agent != nil {
		t.Errorf("there is an agent: %+v", agent.Status)
	}
}

// One that comes in the place of the frozen pod is not why the session ends.
func TestAnotherPodInItsPlace(t *testing.T) {
	w := newWorld(t, nil)
	w.deployed()
	s := w.made(Options{})
	w.freezes()
	w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionReady) })
	w.must(w.admin.Kube.CoreV1().Pods(w.pod.Namespace).Delete(t.Context(), w.pod.Name, metav1.DeleteOptions{}))
	w.another("worker-1", w.pod.OwnerReferences)
	state := w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
	if said := state.Ended().Error(); strings.Contains(said, "worker-1") {
		t.Errorf("it ends with %s", said)
	}
}
