package clone

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What a pod asks for as a whole is what the API server and its quotas make of
// it: with defaults, and with the most that runs at a time.
func TestTotals(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	spec := &corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Name: "once", Resources: needs("memory=4Gi", "")},
			{Name: "mesh", RestartPolicy: &always, Resources: needs("cpu=1 memory=1Gi", "cpu=2")},
		},
		Containers: []corev1.Container{{Name: "app", Resources: needs("cpu=1", "")}, {Name: "plain"}},
	}
	ranges := []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, DefaultRequest: list("cpu=100m"), Max: list("memory=2Gi")},
		{Type: corev1.LimitTypePod, Max: list("cpu=2")},
	}}}}
	totals := Totals(spec, ranges)
	for name, want := range map[corev1.ResourceName]string{corev1.ResourceCPU: "2100m", corev1.ResourceMemory: "4Gi"} {
		if got := totals.Requests[name]; got.String() != want {
			t.Errorf("%s: %s are asked for, want %s", name, got.String(), want)
		}
	}
	// No limit at all is outside of a greatest one.
	want := []string{"memory of container once", "memory of container mesh", "memory of container app", "memory of container plain", "cpu of the pod"}
	if got := Outside(spec, ranges); !slices.Equal(got, want) {
		t.Errorf("outside are %q, want %q", got, want)
	}
	if got := Outside(spec, nil); got != nil {
		t.Errorf("outside of nothing are %q", got)
	}
	if got := Unsaid(spec, ranges, false, corev1.ResourceCPU); got != nil {
		t.Errorf("no request of CPU from %q", got)
	}
	if got, want := Unsaid(spec, nil, true, corev1.ResourceCPU), []string{"once", "app", "plain"}; !slices.Equal(got, want) {
		t.Errorf("no limit of CPU from %q, want %q", got, want)
	}
	whole := needs("cpu=3", "cpu=3")
	spec.Resources = &whole
	if got := Totals(spec, ranges).Requests[corev1.ResourceCPU]; got.String() != "3" || Unsaid(spec, nil, true, corev1.ResourceCPU) != nil {
		t.Errorf("of a pod that says it as a whole %s are asked for", got.String())
	}
}
