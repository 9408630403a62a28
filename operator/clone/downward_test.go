package clone

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestDivided(t *testing.T) {
	tests := []struct {
		name              corev1.ResourceName
		quantity, divisor string
		want              string
	}{
		{"cpu", "1500m", "0", "2"},
		{"cpu", "1500m", "1", "2"},
		{"cpu", "1500m", "1m", "1500"},
		{"cpu", "0", "1m", "0"},
		{"cpu", "2", "1", "2"},
		{"memory", "3Gi", "0", "3221225472"},
		{"memory", "3Gi", "1Mi", "3072"},
		{"memory", "1500M", "1Mi", "1431"},
		{"memory", "100Mi", "1Gi", "1"},
		{"memory", "8Ei", "1", "9223372036854775807"},
		{"ephemeral-storage", "10Gi", "1k", "10737419"},
		{"hugepages-2Mi", "1Gi", "1Mi", "1024"},
	}
	for _, test := range tests {
		got := divided(test.name, resource.MustParse(test.quantity), resource.MustParse(test.divisor))
		if got != test.want {
			t.Errorf("%s %s by %s is %s, want %s", test.quantity, test.name, test.divisor, got, test.want)
		}
	}
}

func TestReadsOfResources(t *testing.T) {
	const unlimited = "what the node has"
	tests := []struct {
		name   string
		target corev1.ResourceRequirements
		pod    *corev1.ResourceRequirements
		ranges corev1.LimitRangeItem
		ref    string
		want   string
	}{
		{name: "request", target: needs("cpu=2", ""), ref: "requests.cpu", want: "2"},
		{name: "request by limit", target: needs("", "cpu=3"), ref: "requests.cpu", want: "3"},
		{name: "no request", ref: "requests.memory", want: "0"},
		{name: "limit", target: needs("", "memory=1Gi"), ref: "limits.memory", want: "1073741824"},
		{name: "no limit", ref: "limits.memory", want: unlimited},
		{name: "a limit of nothing is none", target: needs("", "memory=0"), ref: "limits.memory", want: unlimited},
		{name: "limit of the pod", pod: &corev1.ResourceRequirements{Limits: list("cpu=6")}, ref: "limits.cpu", want: "6"},
		{name: "limit by default", ranges: corev1.LimitRangeItem{Default: list("cpu=4")}, ref: "limits.cpu", want: "4"},
		{name: "request by default", ranges: corev1.LimitRangeItem{DefaultRequest: list("cpu=5")}, ref: "requests.cpu", want: "5"},
		{name: "huge pages", target: needs("", "hugepages-2Mi=4Mi"), ref: "limits.hugepages-2Mi", want: "4194304"},
		{name: "no huge pages", ref: "limits.hugepages-2Mi", want: "0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template, opts := oneContainer("worker"), someOptions()
			container := &template.Spec.Containers[0]
			container.Resources, template.Spec.Resources = test.target, test.pod
			container.Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{
				ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: test.ref},
			}}}
			template.Spec.Volumes = []corev1.Volume{{Name: "info", VolumeSource: corev1.VolumeSource{
				DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
					{Path: "x", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "worker", Resource: test.ref}},
				}},
			}}}
			test.ranges.Type = corev1.LimitTypeContainer
			opts.LimitRanges = []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{test.ranges}}}}
			pod, _ := mustStandIn(t, FromTemplate("shop", template), opts)

			env, file := pod.Spec.Containers[0].Env[0], pod.Spec.Volumes[0].DownwardAPI.Items[0]
			if test.want == unlimited {
				// The references stay, and the agent has no limit that they
				// would give.
				if env.ValueFrom == nil || file.ResourceFieldRef == nil {
					t.Errorf("the references became %+v and %+v", env, file)
				}
				if limit, ok := pod.Spec.Containers[0].Resources.Limits[corev1.ResourceMemory]; ok {
					t.Errorf("the agent has a limit of %s, which would be read for the application's", limit.String())
				}
				return
			}
			if env.Value != test.want || env.ValueFrom != nil {
				t.Errorf("the variable is %+v, want %s", env, test.want)
			}
			if file.ResourceFieldRef != nil || file.FieldRef.FieldPath != "metadata.annotations['understudy.dev/resource-1']" {
				t.Errorf("the file is %+v", file)
			}
			if got := pod.Annotations["understudy.dev/resource-1"]; got != test.want {
				t.Errorf("the file holds %q, want %s", got, test.want)
			}
		})
	}
}
