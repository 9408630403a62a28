// Package probe answers the kubelet's probes in the place of a container that is
// frozen. It answers what the container's own probes ask and nothing else: who asks
// for anything else sees a reset, as from a port on which nobody listens, so that a
// frozen pod does not swallow its Services' traffic.
package probe

import (
	"net/url"
	"strings"
)

// Kind of a probe.
type Kind string

// The kinds of probes that come over the network.
const (
	HTTP Kind = "http"
	TCP  Kind = "tcp"
	GRPC Kind = "grpc"
)

// Probe is one question that the kubelet asks again and again.
type Probe struct {
	Kind Kind   `json:"kind"`
	Port uint16 `json:"port"`

	// TLS is for scheme HTTPS of HTTP, and for mode TLS of GRPC. A kubelet that does
	// not know the latter asks without.
	TLS bool `json:"tls,omitempty"`
	// Path of HTTP as in the pod's spec, with a query if there is one.
	Path string `json:"path,omitempty"`
	// Headers of HTTP that the pod's spec adds.
	Headers []Header `json:"headers,omitempty"`

	// Service that GRPC asks for; mostly empty.
	Service string `json:"service,omitempty"`
}

// Header of a request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Equal says whether two probes ask the same.
func (p Probe) Equal(other Probe) bool {
	if len(p.Headers) != len(other.Headers) {
		return false
	}
	for i := range p.Headers {
		if p.Headers[i] != other.Headers[i] {
			return false
		}
	}
	return p.Kind == other.Kind && p.Port == other.Port && p.TLS == other.TLS && p.Path == other.Path && p.Service == other.Service
}

// requestURI is what stands in the request's first line: the kubelet makes a URL
// of the path if it is one, or else takes it literally (pkg/probe/http).
func (p Probe) requestURI() string {
	u, err := url.Parse(p.Path)
	if err != nil {
		u = &url.URL{Path: p.Path}
	}
	u.Scheme, u.Host = "http", "pod"
	if again, err := url.Parse(u.String()); err == nil {
		u = again
	}
	return u.RequestURI()
}

// agent is what the kubelet's User-Agent begins with, where the probe does not
// say another.
const agent = "kube-probe/"

// userAgent tells what the kubelet calls itself in the probe: exactly so if exact,
// else with more behind it.
func (p Probe) userAgent() (name string, exact bool) {
	for _, header := range p.Headers {
		if strings.EqualFold(header.Name, "User-Agent") {
			return header.Value, true
		}
	}
	return agent, false
}
