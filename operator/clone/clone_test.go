package clone

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Every scenario is made both ways, with and without traffic.
func everyOption(t *testing.T, call func(t *testing.T, s scenario, opts Options)) {
	t.Helper()
	scenarios(t, func(t *testing.T, path string) {
		s := readScenario(t, path)
		for _, delivery := range []v1alpha1.AgentDelivery{v1alpha1.DeliveryImageVolume, v1alpha1.DeliveryInitContainer} {
			for _, traffic := range []bool{false, true} {
				opts := s.options
				opts.Delivery, opts.TakesTraffic = delivery, traffic
				call(t, s, opts)
			}
		}
	})
}

func mustStandIn(t testing.TB, source Source, opts Options) (*corev1.Pod, Report) {
	t.Helper()
	pod, report, err := StandIn(source, opts)
	if err != nil {
		t.Fatalf("making a stand-in: %v", err)
	}
	return pod, report
}

func TestStandInChangesNothingItIsGiven(t *testing.T) {
	everyOption(t, func(t *testing.T, s scenario, opts Options) {
		source := Source{namespace: s.source.namespace, template: *s.source.template.DeepCopy()}
		before := asYAML(t, opts)
		mustStandIn(t, s.source, opts)
		if diff := cmp.Diff(source.template, s.source.template); diff != "" {
			t.Errorf("the source was changed (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(before, asYAML(t, opts)); diff != "" {
			t.Errorf("the options were changed (-before +after):\n%s", diff)
		}
	})
}

func TestStandInSharesNothingWithItsSource(t *testing.T) {
	everyOption(t, func(t *testing.T, s scenario, opts Options) {
		first, _ := mustStandIn(t, s.source, opts)
		want := asYAML(t, first)
		spoil(first)
		second, _ := mustStandIn(t, s.source, opts)
		if diff := cmp.Diff(want, asYAML(t, second)); diff != "" {
			t.Errorf("writing to one stand-in changed the next (-want +got):\n%s", diff)
		}
	})
}

// spoil writes through every reference that a clone could share.
func spoil(pod *corev1.Pod) {
	for key := range pod.Labels {
		pod.Labels[key] = "spoiled"
	}
	for key := range pod.Annotations {
		pod.Annotations[key] = "spoiled"
	}
	for container := range everyContainer(&pod.Spec) {
		for i := range container.Env {
			container.Env[i].Value = "spoiled"
		}
		for i := range container.Ports {
			container.Ports[i].ContainerPort = 1
		}
		for i := range container.VolumeMounts {
			container.VolumeMounts[i].MountPath = "/spoiled"
		}
		for name := range container.Resources.Requests {
			delete(container.Resources.Requests, name)
		}
		for name := range container.Resources.Limits {
			delete(container.Resources.Limits, name)
		}
		if container.SecurityContext != nil {
			*container.SecurityContext = corev1.SecurityContext{}
		}
		if container.Lifecycle != nil {
			*container.Lifecycle = corev1.Lifecycle{}
		}
	}
	for i := range pod.Spec.Volumes {
		pod.Spec.Volumes[i].VolumeSource = corev1.VolumeSource{}
	}
	for i := range pod.Spec.Tolerations {
		pod.Spec.Tolerations[i].Key = "spoiled"
	}
	for key := range pod.Spec.NodeSelector {
		pod.Spec.NodeSelector[key] = "spoiled"
	}
}

func TestStandInIsDeterministic(t *testing.T) {
	everyOption(t, func(t *testing.T, s scenario, opts Options) {
		pod, report := mustStandIn(t, s.source, opts)
		for range 10 {
			again, reportAgain := mustStandIn(t, s.source, opts)
			if diff := cmp.Diff(pod, again); diff != "" {
				t.Fatalf("the same input gave another pod (-first +then):\n%s", diff)
			}
			if diff := cmp.Diff(report, reportAgain); diff != "" {
				t.Fatalf("the same input gave another report (-first +then):\n%s", diff)
			}
		}
	})
}

func TestStandInRoundTrips(t *testing.T) {
	everyOption(t, func(t *testing.T, s scenario, opts Options) {
		pod, _ := mustStandIn(t, s.source, opts)
		text := asYAML(t, pod)
		var back corev1.Pod
		if err := yaml.UnmarshalStrict([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, asYAML(t, back)); diff != "" {
			t.Errorf("the pod is another after a round trip (-want +got):\n%s", diff)
		}
	})
}

// What holds for every stand-in, whatever it is made from.
func TestStandInInvariants(t *testing.T) {
	everyOption(t, func(t *testing.T, s scenario, opts Options) {
		pod, report := mustStandIn(t, s.source, opts)
		original, replaced := findContainer(&s.template.Spec, report.Container), findContainer(&pod.Spec, report.Container)

		if replaced.Image != original.Image || replaced.WorkingDir != original.WorkingDir || replaced.ImagePullPolicy != original.ImagePullPolicy {
			t.Errorf("the replaced container is not the target's: %+v", replaced)
		}
		if diff := cmp.Diff(original.SecurityContext, replaced.SecurityContext); diff != "" {
			t.Errorf("the security context is not the target's (-target +stand-in):\n%s", diff)
		}
		if diff := cmp.Diff(original.EnvFrom, replaced.EnvFrom); diff != "" {
			t.Errorf("envFrom is not the target's (-target +stand-in):\n%s", diff)
		}
		for i, env := range original.Env {
			if env.ValueFrom != nil && env.ValueFrom.ResourceFieldRef != nil {
				continue
			}
			if diff := cmp.Diff(env, replaced.Env[i]); diff != "" {
				t.Errorf("a variable is not the target's (-target +stand-in):\n%s", diff)
			}
		}
		if got := replaced.Command[0]; got != settings.Binary || replaced.Args != nil {
			t.Errorf("the replaced container runs %s %v, not the agent alone", got, replaced.Args)
		}
		if replaced.LivenessProbe != nil || replaced.StartupProbe != nil || replaced.Lifecycle != nil || replaced.TTY || replaced.Stdin {
			t.Errorf("the replaced container still has something of the application's: %+v", replaced)
		}

		volumes := map[string]corev1.Volume{}
		for _, volume := range pod.Spec.Volumes {
			volumes[volume.Name] = volume
		}
		for container := range everyContainer(&pod.Spec) {
			for _, mount := range container.VolumeMounts {
				if _, ok := volumes[mount.Name]; !ok {
					t.Errorf("container %s mounts %s, which the pod does not have", container.Name, mount.Name)
				}
				if volumes[mount.Name].Secret != nil && volumes[mount.Name].Secret.SecretName == opts.SecretName && container.Name != report.Container {
					t.Errorf("container %s has the agent's key", container.Name)
				}
				if mount.Name == binaryVolume && !mount.ReadOnly && container.Name != InstallContainer {
					t.Errorf("container %s can write the agent's program", container.Name)
				}
			}
		}
		if owner := pod.OwnerReferences[0]; owner.UID != opts.SessionUID || !*owner.Controller || !*owner.BlockOwnerDeletion {
			t.Errorf("the pod is not the session's: %+v", owner)
		}
		if pod.Spec.NodeName != "" || pod.UID != "" || pod.ResourceVersion != "" || pod.GenerateName != "" || pod.Finalizers != nil {
			t.Errorf("the pod has something of one that lives: %s", asYAML(t, pod))
		}
		if *pod.Spec.TerminationGracePeriodSeconds == 0 {
			t.Error("the API server would forget the pod before it has ended")
		}
		for _, conflict := range report.Conflicts {
			if conflict.Kind == ConflictHostPort && !opts.TakesTraffic {
				t.Errorf("a copy takes the node's ports: %s", conflict.Message)
			}
		}
	})
}

// What the restricted Pod Security level demands of each container.
func TestRestrictedStaysRestricted(t *testing.T) {
	for _, name := range []string{"restricted", "restricted-image-volume"} {
		for _, delivery := range []v1alpha1.AgentDelivery{v1alpha1.DeliveryImageVolume, v1alpha1.DeliveryInitContainer} {
			t.Run(name+" "+string(delivery), func(t *testing.T) {
				s := readScenario(t, "testdata/"+name+".yaml")
				s.options.Delivery = delivery
				pod, _ := mustStandIn(t, s.source, s.options)
				podLevel := pod.Spec.SecurityContext
				if podLevel == nil {
					podLevel = &corev1.PodSecurityContext{}
				}
				seen := 0
				for container := range everyContainer(&pod.Spec) {
					seen++
					security := container.SecurityContext
					if security.AllowPrivilegeEscalation == nil || *security.AllowPrivilegeEscalation {
						t.Errorf("%s may escalate its privileges", container.Name)
					}
					if security.Privileged != nil && *security.Privileged {
						t.Errorf("%s is privileged", container.Name)
					}
					if nonRoot := firstOf(security.RunAsNonRoot, podLevel.RunAsNonRoot); nonRoot == nil || !*nonRoot {
						t.Errorf("%s may run as root", container.Name)
					}
					if user := firstOf(security.RunAsUser, podLevel.RunAsUser); user != nil && *user == 0 {
						t.Errorf("%s runs as root", container.Name)
					}
					if profile := firstOf(security.SeccompProfile, podLevel.SeccompProfile); profile == nil || profile.Type == corev1.SeccompProfileTypeUnconfined {
						t.Errorf("%s has no seccomp profile", container.Name)
					}
					if drop := security.Capabilities.Drop; len(drop) != 1 || drop[0] != "ALL" {
						t.Errorf("%s drops only %v", container.Name, drop)
					}
					for _, capability := range security.Capabilities.Add {
						if capability != "NET_BIND_SERVICE" {
							t.Errorf("%s adds %s", container.Name, capability)
						}
					}
				}
				if want := map[v1alpha1.AgentDelivery]int{v1alpha1.DeliveryImageVolume: 1, v1alpha1.DeliveryInitContainer: 2}[delivery]; seen != want {
					t.Errorf("looked at %d containers, want %d", seen, want)
				}
			})
		}
	}
}

func firstOf[T any](pointers ...*T) *T {
	for _, pointer := range pointers {
		if pointer != nil {
			return pointer
		}
	}
	return nil
}

func TestOptionsAreChecked(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"no session name": func(o *Options) { o.SessionName = "" },
		"no session uid":  func(o *Options) { o.SessionUID = "" },
		"no pod name":     func(o *Options) { o.PodName = "" },
		"no secret name":  func(o *Options) { o.SecretName = "" },
		"no agent image":  func(o *Options) { o.AgentImage = "" },
		"unknown deliver": func(o *Options) { o.Delivery = "Pigeon" },
	} {
		opts := someOptions()
		spoil(&opts)
		_, _, err := StandIn(FromTemplate("shop", oneContainer("worker")), opts)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

// oneContainer is the smallest target.
func oneContainer(name string) corev1.PodTemplateSpec {
	var template corev1.PodTemplateSpec
	template.Labels = map[string]string{"app": name}
	template.Spec.Containers = []corev1.Container{{Name: name, Image: "registry.example/" + name}}
	return template
}

func asYAML(t testing.TB, object any) string {
	t.Helper()
	data, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
