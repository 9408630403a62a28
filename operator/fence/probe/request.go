package probe

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// agent is what the kubelet's User-Agent begins with, where the probe does not
// say another.
const agent = "kube-probe/"

// ownHost stands for the pod's own address, which is not compared: who passes a
// probe on asks by another.
const ownHost = "pod"

// request is how an HTTP probe arrives, by HTTP/1.1; nil if the kubelet cannot ask
// it either. It makes a request of the pod's spec as it is (pkg/probe/http), and
// net/http drops and changes some of that when it sends it. So net/http is had to
// write it here too.
func (p Probe) request() *http.Request {
	u, err := url.Parse(p.Path)
	if err != nil {
		u = &url.URL{Path: p.Path}
	}
	u.Scheme, u.Host = "http", ownHost
	made, err := http.NewRequest(http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil
	}
	for _, header := range p.Headers {
		made.Header.Add(header.Name, header.Value)
	}
	if !p.names("User-Agent") {
		made.Header.Set("User-Agent", agent)
	}
	if made.Header.Get("Accept") == "" {
		made.Header.Del("Accept") // all of it, if the first is empty
	}
	made.Host = made.Header.Get("Host")
	var sent bytes.Buffer
	if err := made.Write(&sent); err != nil {
		return nil
	}
	arrived, err := http.ReadRequest(bufio.NewReader(&sent))
	if err != nil {
		return nil
	}
	return arrived
}

// names says whether the pod's spec has a header of that name, be it an empty one.
func (p Probe) names(header string) bool {
	return slices.ContainsFunc(p.Headers, func(h Header) bool { return strings.EqualFold(h.Name, header) })
}

// ofConnection are headers that are about one connection: HTTP/2 has none of them,
// and who passes a probe on does not pass them on.
var ofConnection = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// isAskedBy compares with all that the kubelet takes from the pod's spec and that
// arrives, but for the version of HTTP, which the two sides agree upon.
func (p Probe) isAskedBy(r *http.Request) bool {
	want := p.request()
	if want == nil || r.Method != want.Method || r.RequestURI != want.RequestURI {
		return false
	}
	if want.Host != ownHost && r.Host != want.Host {
		return false
	}
	if got := strings.TrimSpace(r.UserAgent()); got != want.UserAgent() && (p.names("User-Agent") || !strings.HasPrefix(got, agent)) {
		return false
	}
	for _, header := range p.Headers {
		name := http.CanonicalHeaderKey(header.Name)
		if name == "User-Agent" || slices.Contains(ofConnection, name) {
			continue
		}
		got := valuesOf(r, name)
		for _, value := range valuesOf(want, name) {
			if value != "" && !slices.Contains(got, value) {
				return false
			}
		}
	}
	return true
}

// valuesOf a header, whichever version it came by: HTTP/1.1 drops the blanks around
// one, and HTTP/2 sends cookies one by one, which arrive as one header.
func valuesOf(r *http.Request, name string) []string {
	var values []string
	for _, value := range r.Header.Values(name) {
		if name != "Cookie" {
			values = append(values, strings.TrimSpace(value))
			continue
		}
		for cookie := range strings.SplitSeq(value, ";") {
			values = append(values, strings.TrimSpace(cookie))
		}
	}
	return values
}
