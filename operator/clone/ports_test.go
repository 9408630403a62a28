package clone

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"understudy.dev/understudy/operator/tunnel"
)

func TestPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	spec := &corev1.PodSpec{
		InitContainers: []corev1.Container{{
			Name: "mesh", RestartPolicy: &always,
			Ports: []corev1.ContainerPort{{Name: "mesh", ContainerPort: 15000}, {Name: "http", ContainerPort: 15001}},
		}},
		Containers: []corev1.Container{{
			Name:  "web",
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "sctp", ContainerPort: 99, Protocol: corev1.ProtocolSCTP}},
			StartupProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8081)}}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(5432), Host: "database"}}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("mesh")}}},
		}},
	}
	service := func(target intstr.IntOrString, protocol corev1.Protocol) corev1.Service {
		return corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: target, Protocol: protocol}}}}
	}
	declared := tunnel.Port{Network: "tcp", Port: 8080, Why: "declared"}
	probed := tunnel.Port{Network: "tcp", Port: 8081, Why: "probed"}
	tests := []struct {
		name         string
		service      corev1.Service
		asked        []int32
		want         []tunnel.Port
		servicePorts []uint16
	}{{
		// The probe of another host is not of this pod, and a probe's names
		// are those of its own container.
		name: "declared and probed",
		want: []tunnel.Port{declared, probed},
	}, {
		name:         "a name that several containers have is the first's",
		service:      service(intstr.FromString("http"), ""),
		want:         []tunnel.Port{{Network: "tcp", Port: 8080, Why: "declared,service"}, probed},
		servicePorts: []uint16{8080},
	}, {
		name:    "a name with another protocol is nobody's",
		service: service(intstr.FromString("http"), corev1.ProtocolUDP),
		want:    []tunnel.Port{declared, probed},
	}, {
		name:    "a sidecar's port by name",
		service: service(intstr.FromString("mesh"), ""),
		want:    []tunnel.Port{declared, probed},
	}, {
		name:    "a sidecar's port by number",
		service: service(intstr.FromInt32(15000), ""),
		want:    []tunnel.Port{declared, probed},
	}, {
		name:         "no target port is the service's own",
		service:      service(intstr.IntOrString{}, ""),
		want:         []tunnel.Port{{Network: "tcp", Port: 80, Why: "service"}, declared, probed},
		servicePorts: []uint16{80},
	}, {
		name:    "UDP is no port to wait for",
		service: service(intstr.FromInt32(53), corev1.ProtocolUDP),
		want:    []tunnel.Port{{Network: "udp", Port: 53, Why: "service"}, declared, probed},
	}, {
		name:  "asked for, within the range of ports",
		asked: []int32{8081, 9229, 9229, 0, -1, 65536},
		want:  []tunnel.Port{declared, {Network: "tcp", Port: 8081, Why: "probed,asked"}, {Network: "tcp", Port: 9229, Why: "asked"}},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			services := []corev1.Service{test.service}
			if diff := cmp.Diff(test.want, Ports(spec, "web", services, test.asked)); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.servicePorts, ServicePorts(spec, "web", services)); diff != "" {
				t.Errorf("service ports (-want +got):\n%s", diff)
			}
		})
	}
	if got := Ports(spec, "gone", nil, []int32{1}); got != nil {
		t.Errorf("a container that is not there has ports %v", got)
	}
}

func TestSelecting(t *testing.T) {
	named := func(name string, selector map[string]string) corev1.Service {
		service := corev1.Service{Spec: corev1.ServiceSpec{Selector: selector}}
		service.Name = name
		return service
	}
	external := named("external", map[string]string{"app": "web"})
	external.Spec.Type = corev1.ServiceTypeExternalName
	services := []corev1.Service{
		named("web", map[string]string{"app": "web"}), named("other", map[string]string{"app": "web", "tier": "back"}),
		named("manual", nil), external,
	}
	got := Selecting(services, map[string]string{"app": "web", "tier": "front"})
	if len(got) != 1 || got[0].Name != "web" {
		t.Errorf("got %v, want the service web alone", got)
	}
}

func TestAgentPortKeepsOutOfTheWay(t *testing.T) {
	spec := &corev1.PodSpec{Containers: []corev1.Container{
		{Name: "web", Ports: []corev1.ContainerPort{{ContainerPort: 7447}}},
		{Name: "sidecar", LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 7448}}}},
	}}
	if got := AgentPort(spec); got != 7449 {
		t.Errorf("the agent's port is %d, want 7449", got)
	}
}
