package nodeagent

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

var forTest = Options{
	Namespace: "understudy-agents", SessionNamespace: "shop", SessionName: "worker-x", SessionUID: "00000000-0000-0000-0000-00000000000a",
	Number: 2, Image: "registry.example/agent:1", NodeName: "node-1", Target: "00000000-0000-0000-0000-00000000000b",
}

// What the node hands to an agent is bounded: two folders, no network of its
// own, no account; and nothing keeps it off the node that it is for.
func TestPods(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{"agent": Pod(forTest), "thaw": Thaw(forTest)} {
		t.Run(name, func(t *testing.T) {
			spec := pod.Spec
			if spec.HostNetwork || spec.HostIPC || !spec.HostPID || *spec.AutomountServiceAccountToken {
				t.Errorf("hostNetwork %v, hostIPC %v, hostPID %v, token %v", spec.HostNetwork, spec.HostIPC, spec.HostPID, *spec.AutomountServiceAccountToken)
			}
			for _, v := range spec.Volumes {
				if h := v.HostPath; h != nil && h.Path != CgroupDir && h.Path != StateDir {
					t.Errorf("the node's %s is mounted", h.Path)
				}
			}
			if spec.NodeName != "node-1" || len(spec.Tolerations) != 1 || spec.Tolerations[0].Operator != corev1.TolerationOpExists || spec.Tolerations[0].Key != "" {
				t.Errorf("on node %q with tolerations %v", spec.NodeName, spec.Tolerations)
			}
			if len(pod.Finalizers) != 1 || pod.Finalizers[0] != v1alpha1.AgentFinalizer {
				t.Errorf("finalizers %q", pod.Finalizers)
			}
			if pod.Name != "freeze-00000000-0000-0000-0000-00000000000a-2" || len(pod.Name) > 63 {
				t.Errorf("name %q", pod.Name)
			}
			key, uid, ok := SessionOf(pod)
			if !ok || key.String() != "shop/worker-x" || uid != forTest.SessionUID {
				t.Errorf("the pod belongs to %s %s", key, uid)
			}
			if spec.RestartPolicy != corev1.RestartPolicyOnFailure {
				t.Errorf("restart policy %s: one that has thawed must not freeze again", spec.RestartPolicy)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	agent := func(state corev1.ContainerState) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: AgentContainer, State: state}}}}
	}
	for name, test := range map[string]struct {
		pod           *corev1.Pod
		ended, proved bool
		message       string
	}{
		"nothing is known": {&corev1.Pod{}, false, false, ""},
		"it runs":          {agent(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), false, false, ""},
		"it thawed":        {agent(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "thawed"}}), true, true, "thawed"},
		"it was killed":    {agent(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "Error"}}), true, false, "Error"},
	} {
		t.Run(name, func(t *testing.T) {
			if ended, proved, message := Ended(test.pod); ended != test.ended || proved != test.proved || message != test.message {
				t.Errorf("got %v, %v, %q", ended, proved, message)
			}
		})
	}
}
