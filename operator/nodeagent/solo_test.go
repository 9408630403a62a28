package nodeagent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func soloForTest(namespace string) SoloOptions {
	return SoloOptions{
		Namespace: namespace, Session: "00000000-0000-0000-0000-00000000000a", Owner: "ada@laptop", Image: "registry.example/agent:1", Container: "app",
		Target: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "worker-0", UID: "00000000-0000-0000-0000-00000000000b"},
			Spec:       corev1.PodSpec{NodeName: "node-1"},
		},
	}
}

// What is made without an operator is left to nobody: no finalizer, the pod as
// owner where that reaches; and an operator takes it for nothing of its own.
func TestSolo(t *testing.T) {
	for namespace, owners := range map[string]int{"shop": 1, "agents": 0} {
		for name, pod := range map[string]*corev1.Pod{
			"freeze-pod-00000000-0000-0000-0000-00000000000b": Solo(soloForTest(namespace)),
			"thaw-pod-00000000-0000-0000-0000-00000000000b":   SoloThaw(soloForTest(namespace)),
		} {
			if pod.Name != name || len(name) > 63 || pod.Namespace != namespace || len(pod.Finalizers) > 0 || len(pod.OwnerReferences) != owners {
				t.Errorf("%s/%s has finalizers %q, owners %v", pod.Namespace, pod.Name, pod.Finalizers, pod.OwnerReferences)
			}
			if _, _, ok := SessionOf(pod); ok || !IsSolo(pod) || pod.Labels[v1alpha1.SessionLabel] == "" {
				t.Errorf("%s has the labels %v", name, pod.Labels)
			}
			for _, owner := range pod.OwnerReferences {
				if owner.UID != "00000000-0000-0000-0000-00000000000b" || owner.Controller != nil || owner.BlockOwnerDeletion != nil {
					t.Errorf("%s belongs to %+v", name, owner)
				}
			}
			if namespace, name, uid := SoloTarget(pod); namespace != "shop" || name != "worker-0" || uid != "00000000-0000-0000-0000-00000000000b" || pod.Annotations[ContainerAnnotation] != "app" {
				t.Errorf("%s freezes %s/%s (%s), container %q", pod.Name, namespace, name, uid, pod.Annotations[ContainerAnnotation])
			}
			if pod.Annotations[OwnerAnnotation] != "ada@laptop" || pod.Spec.NodeName != "node-1" {
				t.Errorf("%s is of %q on %q", name, pod.Annotations[OwnerAnnotation], pod.Spec.NodeName)
			}
		}
	}
	if IsSolo(Pod(forTest)) {
		t.Error("an operator's agent is taken for one without")
	}
}

// But for its name, its marks and its lock it is the operator's agent.
func TestSoloIsTheSame(t *testing.T) {
	pod := Solo(soloForTest("agents"))
	pod.UID = "u"
	secret := SoloSecret(pod, map[string][]byte{"k": []byte("v")})
	o := forTest
	o.Target, o.SessionUID = soloForTest("").Target.UID, soloForTest("").Session
	theirs := Pod(o)
	for i := range theirs.Spec.Volumes {
		if of := theirs.Spec.Volumes[i].Secret; of != nil {
			of.SecretName = secret.Name
		}
	}
	if diff := cmp.Diff(theirs.Spec, pod.Spec); diff != "" {
		t.Errorf("(-operator's +solo):\n%s", diff)
	}
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != "u" || secret.Namespace != "agents" {
		t.Errorf("the secret is %+v", secret.ObjectMeta)
	}
}

func TestOver(t *testing.T) {
	agent := func(phase corev1.PodPhase, code int32) *corev1.Pod {
		state := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
		if phase == corev1.PodPending {
			state = corev1.ContainerState{}
		}
		return &corev1.Pod{Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: AgentContainer, State: state}}}}
	}
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"it is being made":            {agent(corev1.PodPending, 0), false},
		"it failed, and comes again":  {agent(corev1.PodRunning, 1), false},
		"it thawed":                   {agent(corev1.PodRunning, 0), true},
		"the kubelet says so":         {agent(corev1.PodSucceeded, 0), true},
		"the kubelet threw it out":    {agent(corev1.PodFailed, 137), true},
		"nothing is known of it here": {&corev1.Pod{}, false},
	} {
		if got := Over(test.pod); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An agent is abandoned once it may not begin any more, and has not; one that only
// thaws never is.
func TestAbandoned(t *testing.T) {
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	o := soloForTest("agents")
	o.Setup = 90 * time.Second
	silent := soloForTest("agents")
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		phase  corev1.PodPhase
		status *corev1.ContainerStatus
		after  time.Duration
		want   bool
	}{
		"nothing was said of it":           {Solo(o), corev1.PodPending, nil, 151 * time.Second, true},
		"its image is not got":             {Solo(o), corev1.PodPending, &corev1.ContainerStatus{State: waiting}, time.Hour, true},
		"its owner may wait yet":           {Solo(o), corev1.PodPending, &corev1.ContainerStatus{State: waiting}, 150 * time.Second, false},
		"its owner's time is not known":    {Solo(silent), corev1.PodPending, nil, 10 * time.Minute, false},
		"that, later":                      {Solo(silent), corev1.PodPending, nil, 12 * time.Minute, true},
		"it runs":                          {Solo(o), corev1.PodRunning, &corev1.ContainerStatus{State: running}, time.Hour, false},
		"it runs, and the phase is behind": {Solo(o), corev1.PodPending, &corev1.ContainerStatus{State: running}, time.Hour, false},
		"it is started again":              {Solo(o), corev1.PodRunning, &corev1.ContainerStatus{State: waiting, RestartCount: 1}, time.Hour, false},
		"it is started again, phase or no": {Solo(o), corev1.PodPending, &corev1.ContainerStatus{State: waiting, RestartCount: 1}, time.Hour, false},
		"it only thaws":                    {SoloThaw(o), corev1.PodPending, nil, time.Hour, false},
		"it is an operator's":              {Pod(forTest), corev1.PodPending, nil, time.Hour, false},
	} {
		test.pod.CreationTimestamp, test.pod.Status.Phase = metav1.NewTime(made), test.phase
		if test.status != nil {
			test.status.Name = AgentContainer
			test.pod.Status.ContainerStatuses = []corev1.ContainerStatus{*test.status}
		}
		if got := Abandoned(test.pod, made.Add(test.after)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
