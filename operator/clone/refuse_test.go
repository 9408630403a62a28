package clone

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestRefusals(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	several := func(template *corev1.PodTemplateSpec) {
		template.Spec.Containers = append(template.Spec.Containers, corev1.Container{Name: "proxy"})
		template.Spec.InitContainers = []corev1.Container{{Name: "migrate"}, {Name: "vault", RestartPolicy: &always}}
	}
	tests := []struct {
		name   string
		change func(*corev1.PodTemplateSpec)
		opts   func(*Options)
		reason string
		says   string
	}{{
		name:   "host network",
		change: func(p *corev1.PodTemplateSpec) { p.Spec.HostNetwork = true },
		reason: v1alpha1.ReasonTargetUnsupported, says: "hostNetwork",
	}, {
		name:   "no such container",
		change: several,
		opts:   func(o *Options) { o.Container = "wroker" },
		reason: v1alpha1.ReasonContainerNotFound, says: `no container "wroker": name one of worker, proxy, vault`,
	}, {
		name:   "several containers and none named",
		change: several,
		reason: v1alpha1.ReasonContainerNotFound, says: "name one of worker, proxy, vault",
	}, {
		name:   "init container",
		change: several,
		opts:   func(o *Options) { o.Container = "migrate" },
		reason: v1alpha1.ReasonTargetUnsupported, says: `"migrate" is an init container`,
	}, {
		name: "default container that is not there",
		change: func(p *corev1.PodTemplateSpec) {
			several(p)
			p.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "gone"}
		},
		reason: v1alpha1.ReasonContainerNotFound, says: `no container "gone"`,
	}, {
		name:   "target excluded",
		opts:   func(o *Options) { o.Container, o.ExcludeContainers = "worker", []string{"worker"} },
		reason: v1alpha1.ReasonTargetUnsupported, says: "excluded and named as the target",
	}, {
		name:   "windows by field",
		change: func(p *corev1.PodTemplateSpec) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} },
		reason: v1alpha1.ReasonTargetUnsupported, says: "Windows",
	}, {
		name: "windows by selector",
		change: func(p *corev1.PodTemplateSpec) {
			p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"}
		},
		reason: v1alpha1.ReasonTargetUnsupported, says: "Windows",
	}, {
		name: "a stand-in by its volume",
		change: func(p *corev1.PodTemplateSpec) {
			p.Spec.Volumes = []corev1.Volume{{Name: "understudy-agent"}}
		},
		reason: v1alpha1.ReasonTargetUnsupported, says: "volume understudy-agent",
	}, {
		name: "a stand-in by its mount",
		change: func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "x", MountPath: "/understudy.dev//bin/"}}
		},
		reason: v1alpha1.ReasonTargetUnsupported, says: "mount /understudy.dev//bin/",
	}, {
		name: "a stand-in by its init container",
		change: func(p *corev1.PodTemplateSpec) {
			p.Spec.InitContainers = []corev1.Container{{Name: InstallContainer}}
		},
		reason: v1alpha1.ReasonTargetUnsupported, says: "container understudy-install",
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template, opts := oneContainer("worker"), someOptions()
			if test.change != nil {
				test.change(&template)
			}
			if test.opts != nil {
				test.opts(&opts)
			}
			pod, _, err := StandIn(FromTemplate("shop", template), opts)
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("got pod %v and error %v, want a refusal", pod, err)
			}
			if refused.Reason != test.reason || !strings.Contains(refused.Message, test.says) {
				t.Errorf("refused with %s: %q, want %s with %q", refused.Reason, refused.Message, test.reason, test.says)
			}
		})
	}
}

func TestHostNetworkWhereAllowed(t *testing.T) {
	template, opts := oneContainer("worker"), someOptions()
	template.Spec.HostNetwork = true
	template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
	opts.AllowHostNetwork = true
	pod, report := mustStandIn(t, FromTemplate("shop", template), opts)
	// The API server demands hostPort to equal containerPort there.
	if got := pod.Spec.Containers[0].Ports[0].HostPort; got != 80 {
		t.Errorf("the host port is %d, want 80", got)
	}
	if len(report.Conflicts) != 1 || report.Conflicts[0].Kind != ConflictHostPort {
		t.Errorf("conflicts are %+v, want that of the host port", report.Conflicts)
	}
}
