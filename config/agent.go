package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"understudy.dev/understudy/config/source"
)

// Agent is what the agent's pod is to have. Which of it counts hangs on who makes
// that pod, and of what: see idle.
type Agent struct {
	Resources    Resources           `key:"resources"`
	Labels       map[string]string   `key:"labels"`
	Annotations  map[string]string   `key:"annotations"`
	NodeSelector map[string]string   `key:"node_selector"`
	Tolerations  []corev1.Toleration `key:"tolerations"`
	// PriorityClass and ServiceAccount are names.
	PriorityClass    string                        `key:"priority_class"`
	ServiceAccount   string                        `key:"service_account"`
	PullPolicy       PullPolicy                    `key:"image_pull_policy"`
	ImagePullSecrets []corev1.LocalObjectReference `key:"image_pull_secrets"`
	AppArmor         SecurityProfile               `key:"security_context.app_armor_profile"`
	Seccomp          SecurityProfile               `key:"security_context.seccomp_profile"`
}

// Resources of the agent's container; what is not named is as it is otherwise.
type Resources struct {
	Requests corev1.ResourceList `key:"requests"`
	Limits   corev1.ResourceList `key:"limits"`
}

// PullPolicy is when an image is pulled; empty leaves it to the API server.
type PullPolicy string

// Values are the policies that there are.
func (PullPolicy) Values() []string {
	return words(corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

// ProfileType says where a SecurityProfile comes from; empty for none.
type ProfileType string

// Values are the types that there are.
func (ProfileType) Values() []string {
	return words(corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeUnconfined)
}

// SecurityProfile is one of AppArmor or of seccomp.
type SecurityProfile struct {
	Type ProfileType `key:"type"`
	// Localhost is its name on the node, for the type Localhost.
	Localhost string `key:"localhost_profile"`
}

// What of a node an agent may ask for, and has to be left: the same bounds as the
// Session resource has.
var (
	mostResources = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("2Gi"), corev1.ResourceEphemeralStorage: resource.MustParse("2Gi"),
	}
	// leastLimits: with less it would be too late for its lease, or be killed.
	leastLimits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
)

// resourceList reads quantities by the names of resources.
func resourceList(value any) (corev1.ResourceList, bool) {
	texts, ok := stringMap(value)
	list := corev1.ResourceList{}
	for name, text := range texts {
		quantity, err := resource.ParseQuantity(text)
		if err != nil || quantity.Sign() < 0 {
			return nil, false
		}
		list[corev1.ResourceName(name)] = quantity
	}
	return list, ok
}

// objects reads a list of one of Kubernetes' own types, with no key that this does
// not have.
func objects[T any](value any, right func(T) bool) ([]T, bool) {
	items, ok := value.([]*source.Node)
	var list []T
	for _, item := range items {
		plain, isObject := item.Plain().(map[string]any)
		var one T
		if !isObject || runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(plain, &one, true) != nil || !right(one) {
			return nil, false
		}
		list = append(list, one)
	}
	return list, ok
}

// What can be said in a toleration.
var (
	tolerationOperators = []corev1.TolerationOperator{"", corev1.TolerationOpEqual, corev1.TolerationOpExists}
	taintEffects        = []corev1.TaintEffect{"", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
)

func tolerations(value any) ([]corev1.Toleration, bool) {
	return objects(value, func(t corev1.Toleration) bool {
		return slices.Contains(tolerationOperators, t.Operator) && slices.Contains(taintEffects, t.Effect)
	})
}

func references(value any) ([]corev1.LocalObjectReference, bool) {
	return objects(value, func(r corev1.LocalObjectReference) bool { return r.Name != "" })
}

// plainly is a value of Kubernetes' own types as a file would say it.
func plainly(list any) any {
	var out []any
	for i := range reflect.ValueOf(list).Len() {
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(reflect.ValueOf(list).Index(i).Addr().Interface())
		if err != nil {
			panic(err) // a mistake in this package
		}
		out = append(out, object)
	}
	return out
}

func (c *Config) checkAgent() (found []*Problem) {
	for _, notice := range c.AgentNotices(c.Takeover, c.Takeover != TakeoverFreeze) {
		c.notice(notice)
	}
	a := c.Agent
	add := func(key string, err *field.Error) {
		found = append(found, problem("", "agent.%s: %s", key, err.ErrorBody()).about("agent."+key))
	}
	for key, labels := range map[string]map[string]string{"labels": a.Labels, "node_selector": a.NodeSelector} {
		for _, err := range metav1validation.ValidateLabels(labels, nil) {
			add(key, err)
		}
	}
	for _, err := range validation.ValidateAnnotations(a.Annotations, nil) {
		add("annotations", err)
	}
	for key, of := range map[string]map[string]string{"labels": a.Labels, "annotations": a.Annotations} {
		for _, name := range sorted(of) {
			if domain, _, _ := strings.Cut(name, "/"); domain == "understudy.dev" {
				found = append(found, problem("take it out", "agent.%s: %s is understudy's own", key, name).entryOf("agent."+key, name))
			}
		}
	}
	for key, name := range map[string]string{"priority_class": a.PriorityClass, "service_account": a.ServiceAccount} {
		for _, wrong := range validation.NameIsDNSSubdomain(name, false) {
			if name != "" {
				add(key, field.Invalid(nil, name, wrong))
			}
		}
	}
	for key, profile := range map[string]SecurityProfile{"app_armor_profile": a.AppArmor, "seccomp_profile": a.Seccomp} {
		if key = "agent.security_context." + key; (profile.Type == ProfileType(corev1.SeccompProfileTypeLocalhost)) != (profile.Localhost != "") {
			found = append(found, problem("say both or neither", "%s: localhost_profile goes with type: Localhost", key).about(key+".type", key+".localhost_profile"))
		}
	}
	for i, t := range a.Tolerations {
		for _, wrong := range []struct {
			is   bool
			says string
		}{
			{t.Operator == corev1.TolerationOpExists && t.Value != "", "operator Exists has no value"},
			{t.Key == "" && t.Operator != corev1.TolerationOpExists, "without a key the operator is Exists"},
			{t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute, "tolerationSeconds goes with effect NoExecute"},
		} {
			if wrong.is {
				found = append(found, problem("", "agent.tolerations[%d]: %s", i, wrong.says).about("agent.tolerations"))
			}
		}
	}
	found = append(found, a.Resources.check()...)
	slices.SortFunc(found, func(a, b *Problem) int { return strings.Compare(a.What, b.What) })
	return found
}

func (r *Resources) check() (found []*Problem) {
	const requests, limits = "agent.resources.requests", "agent.resources.limits"
	for key, of := range map[string]corev1.ResourceList{requests: r.Requests, limits: r.Limits} {
		for name, quantity := range of {
			wrong := func(advice, what string, args ...any) {
				found = append(found, problem(advice, "%s: %s", key, fmt.Sprintf(what, args...)).entryOf(key, string(name)))
			}
			least, bounded := leastLimits[name]
			request, asked := r.Requests[name]
			switch most, known := mostResources[name]; {
			case !known:
				wrong("take it out", "an agent has use for cpu, memory and ephemeral-storage, and none for %s", name)
			case quantity.Cmp(most) > 0:
				wrong("", "%s of %s is more than an agent gets: %s", name, quantity.String(), most.String())
			case key == limits && bounded && quantity.Cmp(least) < 0:
				wrong("", "%s of %s is less than an agent can do with: %s", name, quantity.String(), least.String())
			case key == limits && asked && request.Cmp(quantity) > 0:
				found = append(found, problem("ask for less, or allow more", "%s: of %s more is asked for than %s allows", requests, name, limits).about(requests, limits))
			}
		}
	}
	return found
}
