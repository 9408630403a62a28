package clone

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestAgentResources(t *testing.T) {
	tests := []struct {
		name      string
		target    corev1.ResourceRequirements
		bounds    corev1.LimitRangeItem
		options   Options
		unlimited []corev1.ResourceName
		want      corev1.ResourceRequirements
	}{{
		name: "nothing said",
		want: needs("cpu=10m memory=32Mi", "memory=64Mi"),
	}, {
		name:   "a big application",
		target: needs("cpu=8 memory=64Gi", "memory=64Gi"),
		want:   needs("cpu=10m memory=32Mi", "memory=64Mi"),
	}, {
		name:   "a CPU limit stays one, up to a whole CPU",
		target: needs("", "cpu=8"),
		want:   needs("cpu=10m memory=32Mi", "cpu=1 memory=64Mi"),
	}, {
		name:   "a small CPU limit is not raised",
		target: needs("", "cpu=200m"),
		want:   needs("cpu=10m memory=32Mi", "cpu=200m memory=64Mi"),
	}, {
		name:   "a limit under the agent's request gives way",
		target: needs("", "cpu=5m"),
		want:   needs("cpu=10m memory=32Mi", "cpu=10m memory=64Mi"),
	}, {
		name:   "a tiny application does not starve the agent",
		target: needs("memory=8Mi", "memory=16Mi"),
		want:   needs("cpu=10m memory=32Mi", "memory=64Mi"),
	}, {
		name:   "storage: the limit covers the pod's volumes, the request is small",
		target: needs("ephemeral-storage=20Gi", "ephemeral-storage=40Gi"),
		want:   needs("cpu=10m memory=32Mi ephemeral-storage=16Mi", "memory=64Mi ephemeral-storage=40Gi"),
	}, {
		name:   "storage: a limit alone is not taken for the request",
		target: needs("", "ephemeral-storage=40Gi"),
		want:   needs("cpu=10m memory=32Mi ephemeral-storage=16Mi", "memory=64Mi ephemeral-storage=40Gi"),
	}, {
		name:   "devices and huge pages go",
		target: needs("example.com/fpga=1", "nvidia.com/gpu=2 hugepages-2Mi=1Gi example.com/fpga=1"),
		want:   needs("cpu=10m memory=32Mi", "memory=64Mi"),
	}, {
		name:      "no limit where something reads that there is none",
		unlimited: []corev1.ResourceName{corev1.ResourceMemory},
		want:      needs("cpu=10m memory=32Mi", ""),
	}, {
		name:   "minimum",
		bounds: corev1.LimitRangeItem{Min: list("cpu=100m memory=100Mi")},
		want:   needs("cpu=100m memory=100Mi", "memory=100Mi"),
	}, {
		name:   "maximum",
		target: needs("", "cpu=50m memory=16Mi"),
		bounds: corev1.LimitRangeItem{Max: list("cpu=50m memory=16Mi")},
		want:   needs("cpu=10m memory=16Mi", "cpu=50m memory=16Mi"),
	}, {
		name:   "defaults give a limit where the template has none",
		bounds: corev1.LimitRangeItem{Default: list("cpu=300m")},
		want:   needs("cpu=10m memory=32Mi", "cpu=300m memory=64Mi"),
	}, {
		name:   "ratio",
		target: needs("cpu=500m memory=1Gi", "cpu=1 memory=1Gi"),
		bounds: corev1.LimitRangeItem{MaxLimitRequestRatio: list("cpu=3 memory=1")},
		want:   needs("cpu=334m memory=64Mi", "cpu=1 memory=64Mi"),
	}, {
		name:    "what the options say",
		options: Options{Agent: v1alpha1.AgentPod{Resources: v1alpha1.AgentResources{Requests: list("cpu=1m"), Limits: list("cpu=2m")}}},
		want:    needs("cpu=1m memory=32Mi", "cpu=2m memory=64Mi"),
	}, {
		name:    "more is asked for than the agent's limit",
		options: Options{Agent: v1alpha1.AgentPod{Resources: v1alpha1.AgentResources{Requests: list("memory=100Mi")}}},
		want:    needs("cpu=10m memory=100Mi", "memory=100Mi"),
	}, {
		name:    "what the options say, within a maximum",
		options: Options{Agent: v1alpha1.AgentPod{Resources: v1alpha1.AgentResources{Limits: list("memory=1Gi")}}},
		bounds:  corev1.LimitRangeItem{Max: list("memory=128Mi")},
		want:    needs("cpu=10m memory=32Mi", "memory=128Mi"),
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.bounds.Type = corev1.LimitTypeContainer
			bounds := boundsOf([]corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{test.bounds}}}}, corev1.LimitTypeContainer)
			unlimited := map[corev1.ResourceName]bool{}
			for _, name := range test.unlimited {
				unlimited[name] = true
			}
			got := agentResources(effective(test.target, bounds), unlimited, bounds, test.options)
			if !same(got.Requests, test.want.Requests) || !same(got.Limits, test.want.Limits) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// A target that a namespace's limit ranges admit has a stand-in that they
// admit: random ranges, random targets, another seed each time.
func TestLimitRangesAdmitTheStandIn(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	admitted := 0
	for range 20000 {
		item := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer}
		if random.IntN(3) == 0 {
			item.Type = corev1.LimitTypePod
		}
		for _, of := range []*corev1.ResourceList{&item.Min, &item.Max, &item.MaxLimitRequestRatio, &item.Default, &item.DefaultRequest} {
			if item.Type == corev1.LimitTypePod && (of == &item.Default || of == &item.DefaultRequest) {
				continue
			}
			*of = randomList(random, of == &item.MaxLimitRequestRatio)
		}
		ranges := []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}}
		template := oneContainer("worker")
		template.Spec.Containers[0].Resources = randomNeeds(random)
		if random.IntN(2) == 0 {
			sidecar := corev1.Container{Name: "sidecar", Image: "registry.example/sidecar", Resources: randomNeeds(random)}
			template.Spec.Containers = append(template.Spec.Containers, sidecar)
		}
		if admits(item, &template.Spec) != nil {
			continue
		}
		admitted++
		opts := someOptions()
		opts.Container, opts.LimitRanges, opts.Delivery = "worker", ranges, v1alpha1.DeliveryInitContainer
		pod, _ := mustStandIn(t, FromTemplate("shop", template), opts)
		if err := admits(item, &pod.Spec); err != nil {
			t.Fatalf("seed %d: %v\nlimit range:\n%s\ntarget:\n%s\nstand-in:\n%s",
				seed, err, asYAML(t, item), asYAML(t, template.Spec), asYAML(t, pod.Spec))
		}
	}
	if admitted < 500 {
		t.Errorf("only %d targets were admitted: the test says little", admitted)
	}
}

// admits is the rule of the LimitRanger admission, and the API server's own
// that a request is not over its limit.
func admits(item corev1.LimitRangeItem, spec *corev1.PodSpec) error {
	bounds := boundsOf([]corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}}, corev1.LimitTypeContainer)
	for container := range everyContainer(spec) {
		resources := effective(container.Resources, bounds)
		for name, limit := range resources.Limits {
			if request := resources.Requests[name]; request.Cmp(limit) > 0 {
				return fmt.Errorf("%s: request of %s over its limit", container.Name, name)
			}
		}
	}
	if item.Type == corev1.LimitTypePod {
		return within(item, "pod", corev1.ResourceRequirements{
			Requests: aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, bounds).Requests }),
			Limits:   aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, bounds).Limits }),
		})
	}
	for container := range everyContainer(spec) {
		if err := within(item, container.Name, effective(container.Resources, bounds)); err != nil {
			return err
		}
	}
	return nil
}

func within(item corev1.LimitRangeItem, what string, resources corev1.ResourceRequirements) error {
	for name, least := range item.Min {
		request, ok := resources.Requests[name]
		if !ok || request.Cmp(least) < 0 {
			return fmt.Errorf("%s: request of %s under the minimum", what, name)
		}
		if limit, ok := resources.Limits[name]; ok && limit.Cmp(least) < 0 {
			return fmt.Errorf("%s: limit of %s under the minimum", what, name)
		}
	}
	for name, most := range item.Max {
		limit, ok := resources.Limits[name]
		if !ok || limit.Cmp(most) > 0 {
			return fmt.Errorf("%s: limit of %s over the maximum", what, name)
		}
		if request := resources.Requests[name]; request.Cmp(most) > 0 {
			return fmt.Errorf("%s: request of %s over the maximum", what, name)
		}
	}
	for name, ratio := range item.MaxLimitRequestRatio {
		request, limit := resources.Requests[name], resources.Limits[name]
		if request.IsZero() || limit.IsZero() {
			return fmt.Errorf("%s: no request or limit of %s for the ratio", what, name)
		}
		if float64(limit.MilliValue())/float64(request.MilliValue())*1000 > float64(ratio.MilliValue()) {
			return fmt.Errorf("%s: ratio of %s is over the maximum", what, name)
		}
	}
	return nil
}

func randomList(random *rand.Rand, ratio bool) corev1.ResourceList {
	list := corev1.ResourceList{}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if random.IntN(3) != 0 {
			continue
		}
		switch {
		case ratio:
			list[name] = *resource.NewMilliQuantity(1000+random.Int64N(9000), resource.DecimalSI)
		case name == corev1.ResourceCPU:
			list[name] = *resource.NewMilliQuantity(1+random.Int64N(3000), resource.DecimalSI)
		default:
			list[name] = *resource.NewQuantity((1+random.Int64N(512))<<20, resource.BinarySI)
		}
	}
	return list
}

func randomNeeds(random *rand.Rand) corev1.ResourceRequirements {
	needs := corev1.ResourceRequirements{Limits: randomList(random, false), Requests: corev1.ResourceList{}}
	for name, limit := range needs.Limits {
		if random.IntN(2) == 0 {
			needs.Requests[name] = divideUp(limit, *resource.NewQuantity(1+random.Int64N(4), resource.DecimalSI))
		}
	}
	return needs
}

// needs and list read "name=quantity name=quantity".
func needs(requests, limits string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}
}

func same(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, quantity := range a {
		if other, ok := b[name]; !ok || quantity.Cmp(other) != 0 {
			return false
		}
	}
	return true
}

func list(text string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for _, field := range strings.Fields(text) {
		name, quantity, _ := strings.Cut(field, "=")
		list[corev1.ResourceName(name)] = resource.MustParse(quantity)
	}
	return list
}
