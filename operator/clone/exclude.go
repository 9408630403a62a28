package clone

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// everyOne excludes all that can be.
const everyOne = "*"

// exclude takes containers out of a pod and gives their names. A name that the
// pod does not have is a note, not an error: a sidecar may be injected later,
// where nothing can be excluded.
func exclude(spec *corev1.PodSpec, target string, opts Options) (excluded map[string]bool, notes []string, err error) {
	if slices.Contains(opts.ExcludeContainers, target) {
		return nil, nil, refuse(v1alpha1.ReasonTargetUnsupported,
			"container %q is excluded and named as the target: take it out of one of them", target)
	}
	names := func(list []string) map[string]bool {
		set := map[string]bool{}
		for _, name := range list {
			set[name] = true
		}
		return set
	}
	containers, inits := names(opts.ExcludeContainers), names(opts.ExcludeInitContainers)
	excluded = map[string]bool{}
	drop := func(wanted map[string]bool, name string) bool {
		if name == target || !wanted[everyOne] && !wanted[name] {
			return false
		}
		excluded[name] = true
		return true
	}
	spec.Containers = slices.DeleteFunc(spec.Containers, func(c corev1.Container) bool {
		return drop(containers, c.Name)
	})
	spec.InitContainers = slices.DeleteFunc(spec.InitContainers, func(c corev1.Container) bool {
		if isSidecar(&c) {
			return drop(containers, c.Name)
		}
		return drop(inits, c.Name)
	})
	for _, name := range opts.ExcludeContainers {
		if name != everyOne && !excluded[name] {
			notes = append(notes, fmt.Sprintf("the target has no container %q to exclude", name))
		}
	}
	for _, name := range opts.ExcludeInitContainers {
		if name == everyOne || excluded[name] {
			continue
		}
		if there := findContainer(spec, name); there != nil && isSidecar(there) {
			notes = append(notes, fmt.Sprintf("%q is a native sidecar: it is excluded as a container, not as an init container", name))
			continue
		}
		notes = append(notes, fmt.Sprintf("the target has no init container %q to exclude", name))
	}
	return excluded, notes, nil
}
