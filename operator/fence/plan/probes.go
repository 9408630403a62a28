// Package plan reads from a pod what has to be known before one of its containers
// is frozen: which probes are to be answered for it, and why it had better not be.
// It is pure, and it is for the operator, and for the command line tool, which says
// it beforehand: the agent is told the outcome.
package plan

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/fence/probe"
)

// Probes are the network probes of one container of a pod, each question once. Those
// of other containers are their own, those that go to another host are not the
// pod's, and readiness is not claimed for a container that was not ready before.
//
// inPod says that they may come from one of the pod's other containers: a mesh's
// proxy passes on what the kubelet asks.
func Probes(pod *corev1.Pod, container string) (probes []probe.Probe, inPod bool) {
	target := find(&pod.Spec, container)
	if target == nil {
		return nil, false
	}
	rewritten := istio(pod)
	add := func(p *corev1.Probe) {
		if p == nil {
			return
		}
		// Istio's injector has put its own question into the spec, and asks the
		// container the one that was there.
		if p.HTTPGet != nil {
			if original, ok := rewritten[p.HTTPGet.Path]; ok {
				p = original
			}
		}
		question, ok := ask(target, &p.ProbeHandler)
		if ok && !slices.ContainsFunc(probes, question.Equal) {
			probes = append(probes, question)
		}
	}
	add(target.LivenessProbe)
	add(target.StartupProbe)
	if wasReady(pod, container) {
		add(target.ReadinessProbe)
	}
	return probes, running(&pod.Spec) > 1
}

// ask turns a probe into the question that the kubelet asks; false if it is none
// over the pod's network.
func ask(container *corev1.Container, handler *corev1.ProbeHandler) (probe.Probe, bool) {
	var p probe.Probe
	switch {
	case handler.HTTPGet != nil && handler.HTTPGet.Host == "":
		get := handler.HTTPGet
		p = probe.Probe{Kind: probe.HTTP, Port: number(container, get.Port), Path: get.Path, TLS: strings.EqualFold(string(get.Scheme), string(corev1.URISchemeHTTPS))}
		for _, header := range get.HTTPHeaders {
			p.Headers = append(p.Headers, probe.Header{Name: header.Name, Value: header.Value})
		}
	case handler.TCPSocket != nil && handler.TCPSocket.Host == "":
		p = probe.Probe{Kind: probe.TCP, Port: number(container, handler.TCPSocket.Port)}
	case handler.GRPC != nil:
		p = probe.Probe{Kind: probe.GRPC, Port: number(container, intstr.FromInt32(handler.GRPC.Port)), Service: ptr.Deref(handler.GRPC.Service, ""), TLS: ptr.Deref(handler.GRPC.Mode, "") == corev1.GRPCProbeModeTLS}
	}
	return p, p.Port != 0
}

// number is a port as the kubelet finds it: by the container's own names, or else
// as a number; 0 for none.
func number(container *corev1.Container, port intstr.IntOrString) uint16 {
	value := int(port.IntVal)
	if port.Type == intstr.String {
		value, _ = strconv.Atoi(port.StrVal)
		for _, declared := range container.Ports {
			if declared.Name == port.StrVal {
				value = int(declared.ContainerPort)
			}
		}
	}
	if value < 1 || value > math.MaxUint16 {
		return 0
	}
	return uint16(value)
}

// istioProbers is where Istio's injector keeps the probes that it has rewritten, by
// the paths that it has given them.
const istioProbers = "ISTIO_KUBE_APP_PROBERS"

func istio(pod *corev1.Pod) map[string]*corev1.Probe {
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, container := range containers {
			for _, variable := range container.Env {
				if variable.Name != istioProbers {
					continue
				}
				var originals map[string]*corev1.Probe
				// What cannot be read is no rewritten probe: its rewriting is.
				_ = json.Unmarshal([]byte(variable.Value), &originals)
				return originals
			}
		}
	}
	return nil
}

// find is the container of that name that a pod runs, a native sidecar included.
func find(spec *corev1.PodSpec, name string) *corev1.Container {
	for i := range spec.Containers {
		if spec.Containers[i].Name == name {
			return &spec.Containers[i]
		}
	}
	for i := range spec.InitContainers {
		if c := &spec.InitContainers[i]; c.Name == name && isSidecar(c) {
			return c
		}
	}
	return nil
}

func isSidecar(init *corev1.Container) bool {
	return ptr.Deref(init.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways
}

// running is how many containers the pod runs side by side.
func running(spec *corev1.PodSpec) int {
	n := len(spec.Containers) + len(spec.EphemeralContainers)
	for i := range spec.InitContainers {
		if isSidecar(&spec.InitContainers[i]) {
			n++
		}
	}
	return n
}

// wasReady takes a container of which nothing is known for ready.
func wasReady(pod *corev1.Pod, name string) bool {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			if statuses[i].Name == name {
				return statuses[i].Ready
			}
		}
	}
	return true
}
