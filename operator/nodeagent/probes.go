package nodeagent

import (
	"math"
	"reflect"
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
		p, ok := question(container, probe)
		if ok && !slices.ContainsFunc(probes, func(q settings.Probe) bool { return reflect.DeepEqual(p, q) }) {
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
		asked := settings.Probe{Kind: "http", Port: port, Path: probe.HTTPGet.Path, TLS: probe.HTTPGet.Scheme == corev1.URISchemeHTTPS}
		for _, header := range probe.HTTPGet.HTTPHeaders {
			asked.Headers = append(asked.Headers, settings.Header{Name: header.Name, Value: header.Value})
		}
		return asked, port != 0
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
