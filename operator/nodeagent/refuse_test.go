package nodeagent

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func worker(change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "sidecar"}, {Name: "worker"}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "worker", ContainerID: "containerd://0123", Started: ptr.To(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

func command() *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
}

func TestRefuse(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"a plain pod":          {nil, ""},
		"the node's network":   {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "hostNetwork"},
		"Windows":              {func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "windows"},
		"a sandbox":            {func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("gvisor") }, "runtime class gvisor"},
		"a plain runtime":      {func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("nvidia") }, ""},
		"a command as a probe": {func(p *corev1.Pod) { p.Spec.Containers[1].LivenessProbe = command() }, "liveness probe runs a command"},
		"another's command":    {func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = command() }, ""},
		"a network probe": {func(p *corev1.Pod) {
			p.Spec.Containers[1].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}
		}, ""},
		"a readiness command": {func(p *corev1.Pod) { p.Spec.Containers[1].ReadinessProbe = command() }, ""},
		"no such container":   {func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }, "no container worker"},
		"an init container": {func(p *corev1.Pod) {
			p.Spec.InitContainers, p.Spec.Containers = p.Spec.Containers[1:], p.Spec.Containers[:1]
		}, "no container worker"},
		"a native sidecar": {func(p *corev1.Pod) {
			p.Spec.InitContainers, p.Spec.Containers = p.Spec.Containers[1:], p.Spec.Containers[:1]
			p.Spec.InitContainers[0].RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Refuse(worker(test.change), "worker")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if Warn(worker(nil), "worker") != "" {
		t.Error("a warning where there is nothing to warn of")
	}
	if got := Warn(worker(func(p *corev1.Pod) { p.Spec.Containers[1].ReadinessProbe = command() }), "worker"); !strings.Contains(got, "not ready") {
		t.Errorf("of a readiness command it says %q", got)
	}
}

func TestNotYet(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"it runs":           {nil, ""},
		"on no node":        {func(p *corev1.Pod) { p.Spec.NodeName = "" }, "not on a node"},
		"nothing is known":  {func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }, "does not run"},
		"it waits":          {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State = corev1.ContainerState{} }, "does not run"},
		"it is starting up": {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Started = ptr.To(false) }, "startup probe"},
	} {
		t.Run(name, func(t *testing.T) {
			got := NotYet(worker(test.change), "worker")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
