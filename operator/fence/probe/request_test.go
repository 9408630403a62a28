package probe

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"testing"
)

func TestRequestURI(t *testing.T) {
	for path, want := range map[string]string{
		"":             "/",
		"/":            "/",
		"healthz":      "/healthz",
		"/a?b=c&d":     "/a?b=c&d",
		"/a b":         "/a%20b",
		"/a%20b":       "/a%20b",
		"/a%zz":        "/a%25zz",
		"/a#fragment":  "/a",
		"/ä":           "/%C3%A4",
		"//double":     "/", // a host, which the kubelet replaces
		"/trailing/?":  "/trailing/?",
		"/a;b,c:d@e=f": "/a;b,c:d@e=f",
	} {
		if got := (Probe{Kind: HTTP, Path: path}).request(); got == nil || got.RequestURI != want {
			t.Errorf("%q is asked for as %+v, want %q", path, got, want)
		}
	}
}

// asked is the request that the kubelet makes of a probe (pkg/probe/http/request.go).
func asked(t *testing.T, p Probe, addr string) *http.Request {
	t.Helper()
	u, err := url.Parse(p.Path)
	if err != nil {
		u = &url.URL{Path: p.Path}
	}
	u.Scheme, u.Host = "http", addr
	if p.TLS {
		u.Scheme = "https"
	}
	request, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	headers := http.Header{}
	for _, h := range p.Headers {
		headers.Add(h.Name, h.Value)
	}
	if _, ok := headers["User-Agent"]; !ok {
		headers.Set("User-Agent", "kube-probe/1.37")
	}
	if _, ok := headers["Accept"]; !ok {
		headers.Set("Accept", "*/*")
	} else if headers.Get("Accept") == "" {
		headers.Del("Accept")
	}
	request.Header, request.Host = headers, headers.Get("Host")
	return request
}

// Whatever the pod's spec says of a probe, what net/http sends of it is answered, and
// what differs in something that it sends is not.
func TestWhatTheKubeletSends(t *testing.T) {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: true,
	}
	client := http.Client{Transport: transport, Timeout: enough}
	for name, headers := range map[string][]Header{
		"none":                    nil,
		"a blank behind":          {{"X-Probe", "yes "}},
		"a blank alone":           {{"X-Probe", " "}},
		"twice":                   {{"X-Probe", "a"}, {"x-probe", "b"}},
		"two hosts":               {{"Host", "a.example"}, {"Host", "b.example"}},
		"an empty host first":     {{"Host", ""}, {"Host", "b.example"}},
		"a host with a port":      {{"Host", "a.example:8080"}},
		"a host not ASCII":        {{"Host", "bücher.example"}},
		"two agents":              {{"User-Agent", "a"}, {"User-Agent", "b"}},
		"an agent with a blank":   {{"User-Agent", "a "}},
		"no agent":                {{"User-Agent", ""}},
		"connection close":        {{"Connection", "close"}},
		"connection keep-alive":   {{"Connection", "keep-alive"}},
		"keep-alive":              {{"Keep-Alive", "timeout=5"}},
		"proxy's connection":      {{"Proxy-Connection", "keep-alive"}},
		"a length":                {{"Content-Length", "0"}},
		"a transfer's coding":     {{"Transfer-Encoding", "chunked"}},
		"trailers":                {{"Trailer", "X-Sum"}},
		"no accept":               {{"Accept", ""}},
		"an empty accept first":   {{"Accept", ""}, {"Accept", "text/plain"}},
		"an encoding":             {{"Accept-Encoding", ""}},
		"cookies without a blank": {{"Cookie", "a=b;c=d"}},
		"cookies twice":           {{"Cookie", "a=b"}, {"Cookie", "c=d; e=f"}},
	} {
		for _, encrypted := range []bool{false, true} {
			wantAnswered(t, client, name, Probe{Kind: HTTP, Port: port, TLS: encrypted, Path: "/healthz", Headers: headers})
		}
	}
	for _, path := range []string{"", "healthz", "//healthz", "/heal%thz", "/heal%2Fthz", "/health z?a=b%20c", "http://other/healthz", "/healthz?", "/healthz#x"} {
		for _, encrypted := range []bool{false, true} {
			wantAnswered(t, client, path, Probe{Kind: HTTP, Port: port, TLS: encrypted, Path: path})
		}
	}
	for name, test := range map[string]struct{ spec, asks []Header }{
		"another value":       {[]Header{{"X-Probe", "yes"}}, []Header{{"X-Probe", "no"}}},
		"none of it":          {[]Header{{"X-Probe", "yes"}}, nil},
		"one of two":          {[]Header{{"X-Probe", "a"}, {"X-Probe", "b"}}, []Header{{"X-Probe", "a"}}},
		"the second host":     {[]Header{{"Host", "a.example"}, {"Host", "b.example"}}, []Header{{"Host", "b.example"}}},
		"its own host":        {[]Header{{"Host", "a.example"}}, nil},
		"the second agent":    {[]Header{{"User-Agent", "a"}, {"User-Agent", "b"}}, []Header{{"User-Agent", "b"}}},
		"the kubelet's agent": {[]Header{{"User-Agent", "a"}}, nil},
		"a browser's agent":   {nil, []Header{{"User-Agent", "Mozilla/5.0"}}},
		"no agent":            {nil, []Header{{"User-Agent", ""}}},
		"another cookie":      {[]Header{{"Cookie", "a=b;c=d"}}, []Header{{"Cookie", "a=b; c=e"}}},
	} {
		for _, encrypted := range []bool{false, true} {
			p := Probe{Kind: HTTP, Port: port, TLS: encrypted, Path: "/healthz", Headers: test.spec}
			_, addr := answering(t, enough, p)
			p.Headers = test.asks
			if response, err := client.Do(asked(t, p, addr)); err == nil {
				response.Body.Close()
				t.Errorf("%s, TLS %v: answered: %s", name, encrypted, response.Status)
			}
		}
	}
}

func wantAnswered(t *testing.T, client http.Client, name string, p Probe) {
	t.Helper()
	_, addr := answering(t, enough, p)
	response, err := client.Do(asked(t, p, addr))
	if err != nil {
		t.Errorf("%s, TLS %v: %v", name, p.TLS, err)
		return
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || p.TLS != (response.ProtoMajor == 2) {
		t.Errorf("%s, TLS %v: %s %s", name, p.TLS, response.Proto, response.Status)
	}
}
