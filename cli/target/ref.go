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

	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/cli/failure"
)

// Ref is a target as a person names it; the zero Ref is none.
type Ref struct {
	// Group and Resource of the object: "apps", "deployments".
	Group, Resource string
	// Name of the object.
	Name string
	// Container, or empty for the one that is meant by default.
	Container string
}

// None says whether there is no target.
func (r Ref) None() bool { return r == (Ref{}) }

// String is the shortest form of the reference, as in "deployment/worker".
func (r Ref) String() string {
	if r.None() {
		return nothing
	}
	resource := schema.GroupResource{Group: r.Group, Resource: r.Resource}
	if k, ok := known(resource); ok {
		return k.word() + "/" + r.Name
	}
	return resource.String() + "/" + r.Name
}

// nothing is what a person calls the absence of a target.
const nothing = "targetless"

const shapes = "name it as deployment/NAME, deployment/NAME/container/CONTAINER or pod/NAME; " +
	"or a statefulset, replicaset, rollout, cronjob, job, daemonset, or a custom resource as PLURAL.GROUP/NAME"

// likely is the beginning of a hint: what a target may have been meant to be whose
// kind there is not; empty where nothing is near.
func likely(word string, rest []string) string {
	var words []string
	for _, k := range kinds {
		words = append(words, k.word())
	}
	if found := near(word, words); len(word) > 2 && len(found) > 0 && !slices.Contains(rest, "") {
		return fmt.Sprintf("did you mean %s? Else ", strings.Join(append(found[:1], rest...), "/"))
	}
	return ""
}

// elsewhere are kinds that people may name and that run nothing themselves.
var elsewhere = []string{"service", "services", "svc", "ingress", "ingresses", "ing", "node", "nodes"}

// Parse reads KIND/NAME[/container/CONTAINER]. The error is a *failure.Failure.
func Parse(text string) (Ref, error) {
	parts := strings.Split(text, "/")
	if text == "" {
		return Ref{}, failure.New("say with --target (-t) which workload is meant; "+shapes, "no target is named")
	}
	if text == nothing {
		return Ref{}, nil
	}
	word := strings.ToLower(parts[0])
	k, ok := called(word)
	resource := k.GroupResource()
	if plural, group, dotted := strings.Cut(word, "."); !ok && dotted && plural != "" && group != "" && len(parts) > 1 {
		resource, ok = schema.GroupResource{Group: group, Resource: plural}, true
	}
	switch {
	case !ok && len(parts) == 1:
		return Ref{}, failure.New(fmt.Sprintf("did you mean deployment/%s?", text), "target %q does not say what it is", text)
	case slices.Contains(elsewhere, word):
		return Ref{}, failure.New("name what runs the pods: "+shapes, "target %q: a %s runs nothing that could be taken over", text, word)
	case !ok:
		return Ref{}, failure.New(likely(word, parts[1:])+shapes, "target %q: there is no kind %q to take over", text, parts[0])
	case len(parts) == 3 && !slices.Contains(parts, ""):
		return Ref{}, failure.New(fmt.Sprintf("did you mean %s/%s/container/%s? Else %s", parts[0], parts[1], parts[2], shapes), "target %q cannot be read", text)
	}
	if slices.Contains(parts[1:], "") || (len(parts) != 2 && len(parts) != 4) || (len(parts) == 4 && parts[2] != "container") {
		return Ref{}, failure.New(shapes, "target %q cannot be read", text)
	}
	ref := Ref{Group: resource.Group, Resource: resource.Resource, Name: parts[1]}
	if len(parts) == 4 {
		ref.Container = parts[3]
	}
	return ref, nil
}
