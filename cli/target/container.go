package target

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/failure"
)

// defaultContainer is the annotation by which a pod says which container
// kubectl exec and logs mean when none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// container chooses the container whose place is taken: the one that was
// asked for, the one that the pods' own annotation names, or the first. The
// notice is for a choice that somebody may not have meant; else empty.
func container(asked string, pod corev1.PodSpec, annotations map[string]string) (name, notice string, err error) {
	var names, inits []string
	for _, c := range pod.Containers {
		names = append(names, c.Name)
	}
	for _, c := range pod.InitContainers {
		inits = append(inits, c.Name)
	}
	switch annotated := annotations[defaultContainer]; {
	case asked != "" && slices.Contains(names, asked):
		return asked, "", nil
	case asked != "" && slices.Contains(inits, asked):
		return "", "", failure.New("its containers are "+list(names, "and"),
			"container %q is an init container, whose place cannot be taken", asked)
	case asked != "":
		return "", "", failure.New("there "+areIs(names)+" "+list(names, "and"), "there is no container %q", asked)
	case slices.Contains(names, annotated):
		return annotated, "", nil
	case len(names) == 0:
		return "", "", failure.New("", "the pods have no container")
	case len(names) == 1:
		return names[0], "", nil
	}
	return names[0], fmt.Sprintf("container %s is taken, the first one; there %s also %s: choose with /container/NAME",
		names[0], areIs(names[1:]), list(names[1:], "and")), nil
}

func areIs(names []string) string {
	if len(names) == 1 {
		return "is"
	}
	return "are"
}
