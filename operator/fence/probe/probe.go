// Package probe answers the kubelet's probes in the place of a container that is
// frozen. It answers what the container's own probes ask and nothing else: who asks
// for anything else sees a reset, as from a port on which nobody listens, so that a
// frozen pod does not swallow its Services' traffic.
package probe

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
