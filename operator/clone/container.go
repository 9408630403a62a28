package clone

import (
	"iter"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// everyContainer goes over the init containers and the containers.
func everyContainer(spec *corev1.PodSpec) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for i := range spec.InitContainers {
			if !yield(&spec.InitContainers[i]) {
				return
			}
		}
		for i := range spec.Containers {
			if !yield(&spec.Containers[i]) {
				return
			}
		}
	}
}

// findContainer finds a container or an init container by name.
func findContainer(spec *corev1.PodSpec, name string) *corev1.Container {
	for container := range everyContainer(spec) {
		if container.Name == name {
			return container
		}
	}
	return nil
}

// isSidecar says whether an init container is a native sidecar.
func isSidecar(container *corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// running lists the containers that run while the pod does: the regular ones,
// then the native sidecars, the order in which named ports are looked up.
func running(spec *corev1.PodSpec) []*corev1.Container {
	var all []*corev1.Container
	for i := range spec.Containers {
		all = append(all, &spec.Containers[i])
	}
	for i := range spec.InitContainers {
		if isSidecar(&spec.InitContainers[i]) {
			all = append(all, &spec.InitContainers[i])
		}
	}
	return all
}

func namesOf(containers []*corev1.Container) string {
	names := make([]string, 0, len(containers))
	for _, container := range containers {
		names = append(names, container.Name)
	}
	return strings.Join(names, ", ")
}

// resolveTarget names the container to replace, or refuses.
func resolveTarget(template *corev1.PodTemplateSpec, asked string) (string, error) {
	spec := &template.Spec
	there := namesOf(running(spec))
	if asked == "" {
		if len(spec.Containers) == 1 {
			return spec.Containers[0].Name, nil
		}
		asked = template.Annotations["kubectl.kubernetes.io/default-container"]
		if asked == "" {
			return "", refuse(v1alpha1.ReasonContainerNotFound,
				"the target's pods have several containers: name one of %s", there)
		}
	}
	for _, container := range running(spec) {
		if container.Name == asked {
			return asked, nil
		}
	}
	if findContainer(spec, asked) != nil {
		return "", refuse(v1alpha1.ReasonTargetUnsupported,
			"%q is an init container: it ends before the pod runs, so nothing can take its place; name one of %s", asked, there)
	}
	return "", refuse(v1alpha1.ReasonContainerNotFound,
		"the target's pods have no container %q: name one of %s", asked, there)
}
