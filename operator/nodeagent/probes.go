package nodeagent

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/agent/settings"
)

// Probes are the kubelet's probes of a container over the network, that the
// agent is to answer for it. Those that go to another host are not the pod's.
func Probes(pod *corev1.Pod, name string) []settings.Probe {
	container := Container(&pod.Spec, name)
	if container == nil {
		return nil
	}
	var probes []settings.Probe
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
		if p, ok := question(container, probe); ok && !slices.Contains(probes, p) {
			probes = append(probes, p)
		}
	}
	return probes
}

func question(container *corev1.Container, probe *corev1.Probe) (settings.Probe, bool) {
	switch {
	case probe == nil:
	case probe.HTTPGet != nil && probe.HTTPGet.Host == "":
		port := number(container, probe.HTTPGet.Port)
		return settings.Probe{Kind: "http", Port: port, Path: probe.HTTPGet.Path, TLS: probe.HTTPGet.Scheme == corev1.URISchemeHTTPS}, port != 0
	case probe.TCPSocket != nil && probe.TCPSocket.Host == "":
		port := number(container, probe.TCPSocket.Port)
		return settings.Probe{Kind: "tcp", Port: port}, port != 0
	case probe.GRPC != nil:
		port := number(container, intstr.FromInt32(probe.GRPC.Port))
		return settings.Probe{Kind: "grpc", Port: port, Service: ptr.Deref(probe.GRPC.Service, "")}, port != 0
	}
	return settings.Probe{}, false
}

// number is a port as the kubelet finds it, among the container's own names.
func number(container *corev1.Container, port intstr.IntOrString) uint16 {
	found := port.IntVal
	if port.Type == intstr.String {
		for _, declared := range container.Ports {
			if declared.Name == port.StrVal {
				found = declared.ContainerPort
			}
		}
	}
	if found < 1 || found > math.MaxUint16 {
		return 0
	}
	return uint16(found)
}
