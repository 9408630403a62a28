package clone

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPodLevelResources(t *testing.T) {
	tests := []struct {
		name     string
		pod      corev1.ResourceRequirements
		target   corev1.ResourceRequirements
		sidecar  *corev1.ResourceRequirements
		want     corev1.ResourceRequirements
		wantNone bool
	}{{
		name:     "the agent alone",
		pod:      needs("cpu=4 memory=8Gi", "cpu=4 memory=8Gi"),
		wantNone: true,
	}, {
		name:    "all others say what they need",
		pod:     needs("cpu=4 memory=8Gi", "memory=8Gi"),
		sidecar: &corev1.ResourceRequirements{Requests: list("cpu=1 memory=1Gi")},
		want:    needs("cpu=1010m memory=1056Mi", "memory=8Gi"),
	}, {
		name:    "only the application said",
		pod:     needs("cpu=4", "cpu=4"),
		target:  needs("cpu=3", ""),
		sidecar: &corev1.ResourceRequirements{},
		want:    needs("cpu=1010m", "cpu=4"),
	}, {
		name:    "nobody said",
		pod:     needs("cpu=4", "cpu=6"),
		sidecar: &corev1.ResourceRequirements{},
		want:    needs("cpu=4010m", "cpu=6"),
	}, {
		name:    "nobody said, and there is no more",
		pod:     needs("cpu=4", "cpu=4"),
		sidecar: &corev1.ResourceRequirements{},
		want:    needs("cpu=4", "cpu=4"),
	}, {
		name:    "a pod smaller than the agent's limit",
		pod:     needs("memory=40Mi", "memory=48Mi"),
		sidecar: &corev1.ResourceRequirements{Requests: list("memory=8Mi")},
		want:    needs("memory=40Mi", "memory=48Mi"),
	}, {
		name:    "the application's huge pages",
		pod:     needs("hugepages-2Mi=1Gi cpu=1", "hugepages-2Mi=1Gi cpu=1"),
		target:  needs("hugepages-2Mi=1Gi cpu=500m", "hugepages-2Mi=1Gi"),
		sidecar: &corev1.ResourceRequirements{},
		want:    needs("cpu=510m", "cpu=1"),
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template, opts := oneContainer("worker"), someOptions()
			opts.Container = "worker"
			template.Spec.Resources = &test.pod
			template.Spec.Containers[0].Resources = test.target
			if test.sidecar != nil {
				template.Spec.Containers = append(template.Spec.Containers, corev1.Container{Name: "sidecar", Resources: *test.sidecar})
			}
			pod, _ := mustStandIn(t, FromTemplate("shop", template), opts)
			got := pod.Spec.Resources
			if test.wantNone {
				if got != nil {
					t.Fatalf("the pod asks for %v, want nothing", got)
				}
				return
			}
			if !same(got.Requests, test.want.Requests) || !same(got.Limits, test.want.Limits) {
				t.Errorf("the pod asks for %v, want %v", got, test.want)
			}
			// The API server's own rules.
			sum := aggregate(&pod.Spec, func(c *corev1.Container) corev1.ResourceList { return c.Resources.Requests })
			for name, request := range got.Requests {
				if total := sum[name]; total.Cmp(request) > 0 {
					t.Errorf("the containers ask for %s of %s, the pod for %s", total.String(), name, request.String())
				}
			}
			for _, container := range pod.Spec.Containers {
				for name, limit := range container.Resources.Limits {
					if most, ok := got.Limits[name]; ok && limit.Cmp(most) > 0 {
						t.Errorf("container %s may have %s of %s, the pod %s", container.Name, limit.String(), name, most.String())
					}
				}
			}
		})
	}
}

func TestAggregate(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	spec := &corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Name: "first", Resources: needs("cpu=3", "")},
			{Name: "sidecar", RestartPolicy: &always, Resources: needs("cpu=1 memory=1Mi", "")},
			{Name: "second", Resources: needs("cpu=4", "")},
		},
		Containers: []corev1.Container{
			{Name: "a", Resources: needs("cpu=1 memory=1Mi", "")},
			{Name: "b", Resources: needs("cpu=2", "")},
		},
	}
	got := aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return c.Resources.Requests })
	// The second init container runs beside the sidecar.
	if want := list("cpu=5 memory=2Mi"); !same(got, want) {
		t.Errorf("the sum is %v, want %v", got, want)
	}
}

// Bounds on pods look at what the pod itself asks for, where it does.
func TestPodLevelResourcesStandForTheSum(t *testing.T) {
	template, opts := oneContainer("worker"), someOptions()
	template.Spec.Containers[0].Resources = needs("cpu=1900m", "")
	template.Spec.Containers = append(template.Spec.Containers, corev1.Container{Name: "sidecar", Resources: needs("cpu=100m", "")})
	pod := needs("cpu=2", "cpu=2")
	template.Spec.Resources, opts.Container = &pod, "worker"
	opts.LimitRanges = []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypePod, Min: list("cpu=500m")},
	}}}}
	standIn, _ := mustStandIn(t, FromTemplate("shop", template), opts)
	if got := standIn.Spec.Containers[0].Resources; !same(got.Requests, DefaultRequests()) {
		t.Errorf("the agent asks for %v, though the pod's own request is what counts", got.Requests)
	}
	if got := standIn.Spec.Resources; !same(got.Requests, list("cpu=500m")) || !same(got.Limits, list("cpu=2")) {
		t.Errorf("the pod asks for %v, want the least that is allowed", got)
	}

	// Alone in the pod, the agent is what the bounds look at.
	template.Spec.Containers = template.Spec.Containers[:1]
	standIn, _ = mustStandIn(t, FromTemplate("shop", template), opts)
	if got := standIn.Spec.Containers[0].Resources.Requests; standIn.Spec.Resources != nil || !same(got, list("cpu=500m memory=32Mi")) {
		t.Errorf("the agent asks for %v, want the least that is allowed for a pod", got)
	}
}
