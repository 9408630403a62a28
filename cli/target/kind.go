package target

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is a kind of workload that a target can be.
type kind struct {
	schema.GroupVersionResource
	// name is the kind itself, as owner references have it.
	name string
	// short are further names that people use, beside singular and plural.
	short []string
	// number is the field with what a hold brings to zero, template the one with
	// the pods' template; nil for none.
	number, template []string
	// whole says why the kind is not held, for one that is not.
	whole string
}

// word is what a person calls one object of it: "deployment".
func (k kind) word() string {
	if k.name == "" {
		return k.GroupResource().String()
	}
	return strings.ToLower(k.name)
}

// notHeld says why an object is not held, for one that is not.
func (k kind) notHeld(object *unstructured.Unstructured) string {
	if _, is := known(k.GroupResource()); is || len(k.number) == 0 {
		return k.whole
	}
	if _, found, err := unstructured.NestedInt64(object.Object, k.number...); !found || err != nil {
		return unsetNotHeld
	}
	return k.whole
}

var (
	replicasField = []string{"spec", "replicas"}
	suspendField  = []string{"spec", "suspend"}
	templateField = []string{"spec", "template"}
)

const (
	podNotHeld    = "nothing would make a deleted pod again"
	daemonNotHeld = "a DaemonSet has no number of replicas that could be brought to zero"
	// unsetNotHeld is of a custom resource: what its operator makes of none is not known.
	unsetNotHeld = "it has no number in spec.replicas that could be put back: set it first, where its operator reads it"
)

// kinds are those that are known by name. Custom resources with a scale
// subresource are named in full, as in workers.example.com/NAME.
var kinds = []kind{
	{gvr("apps", "v1", "deployments"), "Deployment", []string{"deploy"}, replicasField, templateField, ""},
	{gvr("apps", "v1", "statefulsets"), "StatefulSet", []string{"sts"}, replicasField, templateField, ""},
	{gvr("apps", "v1", "replicasets"), "ReplicaSet", []string{"rs"}, replicasField, templateField, ""},
	{gvr("apps", "v1", "daemonsets"), "DaemonSet", []string{"ds"}, nil, templateField, daemonNotHeld},
	{gvr("batch", "v1", "cronjobs"), "CronJob", []string{"cj"}, suspendField, []string{"spec", "jobTemplate", "spec", "template"}, ""},
	{gvr("batch", "v1", "jobs"), "Job", nil, suspendField, templateField, ""},
	{gvr("argoproj.io", "v1alpha1", "rollouts"), "Rollout", []string{"ro"}, replicasField, templateField, ""},
	{gvr("keda.sh", "v1alpha1", "scaledjobs"), "ScaledJob", []string{"sj"}, nil, []string{"spec", "jobTargetRef", "template"}, ""},
	{gvr("", "v1", "pods"), "Pod", []string{"po"}, nil, nil, podNotHeld},
}

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// called finds the kind that a person calls so.
func called(word string) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool {
		return word == k.word() || word == k.Resource || slices.Contains(k.short, word)
	})
	if i < 0 {
		return kind{}, false
	}
	return kinds[i], true
}

// known finds the kind of a group and a resource.
func known(resource schema.GroupResource) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.GroupResource() == resource })
	if i < 0 {
		return kind{}, false
	}
	return kinds[i], true
}

// Words are what the kinds are called, for a shell to complete, with the
// resource that is listed for each.
func Words() map[string]schema.GroupVersionResource {
	words := map[string]schema.GroupVersionResource{}
	for _, k := range kinds {
		words[k.word()] = k.GroupVersionResource
	}
	return words
}
