package plan

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/clone"
)

// containers are those that run in the stand-in beside the agent.
func containers(w *World) []Finding {
	if w.Target.None() {
		return nil
	}
	spec := w.spec()
	if w.standIn != nil {
		spec = &w.standIn.Spec
	}
	if spec == nil {
		return nil
	}
	var others []string
	for _, c := range running(spec) {
		if c.Name != w.Target.Container && c.Name != clone.InstallContainer {
			others = append(others, c.Name)
		}
	}
	if len(others) == 0 {
		return nil
	}
	names := "container " + others[0] + " goes"
	if len(others) > 1 {
		names = "containers " + strings.Join(others, ", ") + " go"
	}
	if w.clones() {
		return []Finding{{OtherContainers, Notes, names + " on in the stand-in beside your process, with all that it does", "one that reads from the queue too is left out with feature.copy_target.exclude_containers"}}
	}
	return []Finding{{OtherContainers, Notes, names + fmt.Sprintf(" on in pod %s", w.Target.Name), "one that reads from the queue too goes on reading: --copy-target --scale-down can leave it out"}}
}

// running are the containers that go on as long as the pod does.
func running(spec *corev1.PodSpec) []*corev1.Container {
	var all []*corev1.Container
	for i := range spec.Containers {
		all = append(all, &spec.Containers[i])
	}
	for i := range spec.InitContainers {
		if c := &spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, c)
		}
	}
	return all
}
