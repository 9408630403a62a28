// Package target turns what a person names with --target into the object that
// a session will really hold, and the container whose place is taken.
//
// It only reads. Everything that is wrong with a target and can be known
// before anything was made is said here.
package target

import (
	"fmt"
	"slices"
	"strings"

	"understudy.dev/understudy/cli/failure"
)

// Ref is a target as a person names it.
type Ref struct {
	// Resource is "deployments" or "pods".
	Resource string
	// Name of the object.
	Name string
	// Container, or empty for the one that is meant by default.
	Container string
}

// String is the shortest form of the reference, as in "deployment/worker".
func (r Ref) String() string { return strings.TrimSuffix(r.Resource, "s") + "/" + r.Name }

// resources are the names of what can be named; a value of "" is a kind that
// is known and cannot be taken over.
var resources = map[string]string{
	"deployment": "deployments", "deployments": "deployments", "deploy": "deployments",
	"pod": "pods", "pods": "pods", "po": "pods",
	"statefulset": "", "statefulsets": "", "sts": "",
	"replicaset": "", "replicasets": "", "rs": "",
	"daemonset": "", "daemonsets": "", "ds": "",
	"job": "", "jobs": "", "cronjob": "", "cronjobs": "", "cj": "",
	"rollout": "", "rollouts": "", "service": "", "services": "", "svc": "",
}

const shapes = "name it as deployment/NAME, deployment/NAME/container/CONTAINER or pod/NAME"

// Parse reads deployment/NAME[/container/CONTAINER], with deploy for
// deployment, or the same of a pod. The error is a *failure.Failure.
func Parse(text string) (Ref, error) {
	parts := strings.Split(text, "/")
	if text == "" {
		return Ref{}, failure.New("say with --target (-t) which workload is meant; "+shapes, "no target is named")
	}
	resource, known := resources[strings.ToLower(parts[0])]
	switch {
	case !known && len(parts) == 1:
		return Ref{}, failure.New(fmt.Sprintf("did you mean deployment/%s?", text), "target %q does not say what it is", text)
	case !known:
		return Ref{}, failure.New(shapes, "target %q: there is no kind %q to take over", text, parts[0])
	case resource == "":
		return Ref{}, failure.New("a Deployment works, or a pod that belongs to one: "+shapes,
			"target %q: taking over a %s does not work yet", text, strings.ToLower(parts[0]))
	}
	if slices.Contains(parts[1:], "") || (len(parts) != 2 && len(parts) != 4) || (len(parts) == 4 && parts[2] != "container") {
		return Ref{}, failure.New(shapes, "target %q cannot be read", text)
	}
	ref := Ref{Resource: resource, Name: parts[1]}
	if len(parts) == 4 {
		ref.Container = parts[3]
	}
	return ref, nil
}
