package clone

import (
	"cmp"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/tunnel"
)

// Selecting keeps the services that select pods with these labels.
func Selecting(services []corev1.Service, podLabels map[string]string) []corev1.Service {
	var selecting []corev1.Service
	for _, service := range services {
		if len(service.Spec.Selector) == 0 || service.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		if labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(podLabels)) {
			selecting = append(selecting, service)
		}
	}
	return selecting
}

// endpoint is one port of a pod.
type endpoint struct {
	protocol corev1.Protocol
	port     int32
}

func (e endpoint) isValid() bool { return e.port > 0 && e.port <= math.MaxUint16 }

// Ports lists what may be opened in the cluster in the place of one container,
// by port: the ports that it declares, that its probes use, that a Service
// targets, and the TCP ports that were asked for. The spec is the target's
// own, whose probes are still there; services are those that select the pod.
func Ports(spec *corev1.PodSpec, container string, services []corev1.Service, asked []int32) []tunnel.Port {
	target := findContainer(spec, container)
	if target == nil {
		return nil
	}
	why := map[endpoint][]string{}
	add := func(e endpoint, reason string) {
		if e.isValid() && networkOf(e.protocol) != "" && !slices.Contains(why[e], reason) {
			why[e] = append(why[e], reason)
		}
	}
	for _, port := range target.Ports {
		add(endpoint{protocolOf(port.Protocol), port.ContainerPort}, "declared")
	}
	for _, probe := range []*corev1.Probe{target.StartupProbe, target.ReadinessProbe, target.LivenessProbe} {
		add(endpoint{corev1.ProtocolTCP, probedPort(target, probe)}, "probed")
	}
	for _, e := range serviceEndpoints(spec, target, services) {
		add(e, "service")
	}
	for _, port := range asked {
		add(endpoint{corev1.ProtocolTCP, port}, "asked")
	}
	ports := make([]tunnel.Port, 0, len(why))
	for e, reasons := range why {
		ports = append(ports, tunnel.Port{
			Network: networkOf(e.protocol),
			Port:    uint16(e.port),
			Why:     strings.Join(reasons, ","),
		})
	}
	slices.SortFunc(ports, func(a, b tunnel.Port) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Network, b.Network))
	})
	return ports
}

// ServicePorts lists the TCP ports, ascending, by which services reach one
// container. A port that another container of the pod declares is that
// container's.
func ServicePorts(spec *corev1.PodSpec, container string, services []corev1.Service) []uint16 {
	target := findContainer(spec, container)
	if target == nil {
		return nil
	}
	var ports []uint16
	for _, e := range serviceEndpoints(spec, target, services) {
		if e.protocol == corev1.ProtocolTCP && e.isValid() {
			ports = append(ports, uint16(e.port))
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// AgentPort gives the port for the agent: v1alpha1.AgentPort, or the next that
// no container of the pod declares or is probed on.
func AgentPort(spec *corev1.PodSpec) uint16 {
	used := map[int32]bool{}
	for _, container := range running(spec) {
		for _, port := range container.Ports {
			used[port.ContainerPort] = true
		}
		for _, probe := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
			used[probedPort(container, probe)] = true
		}
	}
	port := int32(v1alpha1.AgentPort)
	for used[port] {
		port++
	}
	return uint16(port)
}

func serviceEndpoints(spec *corev1.PodSpec, target *corev1.Container, services []corev1.Service) []endpoint {
	var found []endpoint
	for _, service := range services {
		for _, port := range service.Spec.Ports {
			protocol := protocolOf(port.Protocol)
			if port.TargetPort.Type == intstr.String && port.TargetPort.StrVal != "" {
				if owner, number := namedPort(spec, port.TargetPort.StrVal, protocol); owner == target.Name {
					found = append(found, endpoint{protocol, number})
				}
				continue
			}
			number := port.TargetPort.IntVal
			if number == 0 {
				number = port.Port
			}
			if !isAnothers(spec, target, endpoint{protocol, number}) {
				found = append(found, endpoint{protocol, number})
			}
		}
	}
	return found
}

// namedPort looks a port's name up as the endpoint controllers do: the first
// container that has it with the right protocol.
func namedPort(spec *corev1.PodSpec, name string, protocol corev1.Protocol) (container string, number int32) {
	for _, container := range running(spec) {
		for _, port := range container.Ports {
			if port.Name == name && protocolOf(port.Protocol) == protocol {
				return container.Name, port.ContainerPort
			}
		}
	}
	return "", 0
}

// isAnothers says whether another container declares a port, and the target
// does not.
func isAnothers(spec *corev1.PodSpec, target *corev1.Container, e endpoint) bool {
	another := false
	for _, container := range running(spec) {
		for _, port := range container.Ports {
			if port.ContainerPort != e.port || protocolOf(port.Protocol) != e.protocol {
				continue
			}
			if container.Name == target.Name {
				return false
			}
			another = true
		}
	}
	return another
}

// probedPort is the port of the pod that a probe uses; 0 is none. The kubelet
// looks names up among the probed container's own ports.
func probedPort(container *corev1.Container, probe *corev1.Probe) int32 {
	var port intstr.IntOrString
	switch {
	case probe == nil:
		return 0
	case probe.HTTPGet != nil && probe.HTTPGet.Host == "":
		port = probe.HTTPGet.Port
	case probe.TCPSocket != nil && probe.TCPSocket.Host == "":
		port = probe.TCPSocket.Port
	case probe.GRPC != nil:
		return probe.GRPC.Port
	default:
		return 0
	}
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, declared := range container.Ports {
		if declared.Name == port.StrVal {
			return declared.ContainerPort
		}
	}
	return 0
}

func protocolOf(protocol corev1.Protocol) corev1.Protocol {
	return cmp.Or(protocol, corev1.ProtocolTCP)
}

// networkOf gives the tunnel's name of a protocol; empty where it has none.
func networkOf(protocol corev1.Protocol) string {
	switch protocol {
	case corev1.ProtocolTCP:
		return "tcp"
	case corev1.ProtocolUDP:
		return "udp"
	default:
		return ""
	}
}
