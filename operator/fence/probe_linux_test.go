package fence

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/fence/probe"
)

// asker asks as the kubelet does, from an address of the node.
type asker struct {
	w    *world
	from netip.Addr
	pod  netip.Addr
}

func (k asker) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := within(k.w.node, func() error {
		dialer := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(k.from, 0))}
		var err error
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func (k asker) http(scheme string, port uint16, path string, edit func(*http.Request)) string {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: k.dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: port == 8444, // agreed upon, as newer kubelets do
	}}
	request, err := http.NewRequest(http.MethodGet, scheme+"://"+at(k.pod, port)+path, nil)
	k.w.must("making a request", err)
	request.Header.Set("User-Agent", "kube-probe/1.37")
	if edit != nil {
		edit(request)
	}
	return said(client.Do(request))
}

func said(response *http.Response, err error) string {
	if err == nil {
		var body []byte
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
		if err == nil {
			return fmt.Sprintf("%d %q", response.StatusCode, body)
		}
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "reset"
	}
	return err.Error()
}

// grpc calls as gRPC does over HTTP/2; the message is the request's.
func (k asker) grpc(scheme string, port uint16, method string, message []byte) string {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(scheme == "http")
	protocols.SetHTTP2(scheme == "https")
	transport := &http.Transport{DialContext: k.dial, Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := http.Client{Timeout: patience, Transport: transport}
	frame := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	request, err := http.NewRequest(http.MethodPost, scheme+"://"+at(k.pod, port)+method, bytes.NewReader(frame))
	k.w.must("making a request", err)
	request.Header.Set("User-Agent", "kube-probe/1.37 grpc-go/1.84.0")
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	response, err := client.Do(request)
	text := said(response, err)
	if err == nil {
		text += " status " + response.Trailer.Get("Grpc-Status")
	}
	return text
}

// tcp connects and closes, as the kubelet does; data is what else might be sent.
func (k asker) tcp(port uint16, data string) string {
	conn, err := k.dial(context.Background(), "tcp", at(k.pod, port))
	if err != nil {
		return said(nil, err)
	}
	defer conn.Close()
	if data == "" {
		return "connected"
	}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, data); err != nil {
		return said(nil, err)
	}
	if _, err = conn.Read(make([]byte, 1)); err == nil {
		return "data"
	}
	return said(nil, err)
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// The container's own probes are answered to the node, and nothing else is answered
// to anybody; what the local process listens on is asked there.
func TestAnswer(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			w := newWorld(t)
			target, sidecar := w.container("target", targetUser), w.container("sidecar", sidecarUser)
			for _, port := range []uint16{8080, 8443, 5000, 9000} {
				target.expect("ok", "listen tcp %s", at(anyOf(family.pod), port))
			}
			kubelet := asker{w: w, from: family.kubelet, pod: family.pod}
			stranger := asker{w: w, from: family.stranger, pod: family.pod}
			f := w.fence("s1")
			w.must("raising", f.Raise(w.scope(target, sidecar)))
			const answered = `200 "ok\n"`
			const serving = `200 "\x00\x00\x00\x00\x02\b\x01" status 0`
			const health = "/grpc.health.v1.Health/Check"
			service := append([]byte{1<<3 | 2, 4}, "shop"...)

			check(t, "before", kubelet.http("http", 8080, "/healthz?full=1", nil), "refused")
			check(t, "before", kubelet.tcp(5000, ""), "refused")
			check(t, "before", kubelet.grpc("http", 9000, health, service), "refused")

			w.must("answering", f.Answer([]probe.Probe{
				{Kind: probe.HTTP, Port: 8080, Path: "/healthz?full=1", Headers: []probe.Header{{Name: "Host", Value: "shop.example"}, {Name: "X-Probe", Value: "yes"}}},
				{Kind: probe.HTTP, Port: 8443, Path: "ready", TLS: true},
				{Kind: probe.HTTP, Port: 8444, Path: "/ready", TLS: true},
				{Kind: probe.TCP, Port: 5000},
				{Kind: probe.GRPC, Port: 9443, TLS: true},
				{Kind: probe.GRPC, Port: 9000, Service: "shop"},
				{Kind: probe.TCP, Port: 9000},
			}, false))
			own := func(r *http.Request) { r.Host = "shop.example"; r.Header.Set("X-Probe", "yes") }
			for range 3 { // asked again and again
				check(t, "http", kubelet.http("http", 8080, "/healthz?full=1", own), answered)
				check(t, "https", kubelet.http("https", 8443, "/ready", nil), answered)
				check(t, "https over HTTP/2", kubelet.http("https", 8444, "/ready", nil), answered)
				check(t, "tcp", kubelet.tcp(5000, ""), "connected")
				check(t, "tcp", kubelet.tcp(9000, ""), "connected")
				check(t, "grpc", kubelet.grpc("http", 9000, health, service), serving)
				check(t, "grpc over TLS", kubelet.grpc("https", 9443, health, nil), serving)
				check(t, "grpc of a kubelet that has no TLS for it", kubelet.grpc("http", 9443, health, nil), serving)
			}
			check(t, "another path", kubelet.http("http", 8080, "/orders", own), "reset")
			check(t, "another query", kubelet.http("http", 8080, "/healthz", own), "reset")
			check(t, "without the headers", kubelet.http("http", 8080, "/healthz?full=1", nil), "reset")
			check(t, "another method", kubelet.http("http", 8080, "/healthz?full=1", func(r *http.Request) { own(r); r.Method = http.MethodPut }), "reset")
			check(t, "another program", kubelet.http("http", 8080, "/healthz?full=1", func(r *http.Request) { own(r); r.Header.Set("User-Agent", "curl") }), "reset")
			check(t, "without TLS", kubelet.http("http", 8443, "/ready", nil), "reset")
			check(t, "with TLS", kubelet.http("https", 8080, "/healthz?full=1", own), "reset")
			check(t, "data to a TCP probe's port", kubelet.tcp(5000, "AMQP\x00\x00\x09\x01"), "reset")
			check(t, "another service", kubelet.grpc("http", 9000, health, nil), "reset")
			check(t, "another call", kubelet.grpc("http", 9000, "/shop.Orders/Next", nil), "reset")
			check(t, "a port without probes", kubelet.tcp(8081, ""), "refused")
			for _, port := range []uint16{8080, 8443, 5000, 9000} {
				check(t, "a stranger", stranger.tcp(port, ""), "refused")
			}
			sidecar.expect("refused", "dial tcp %s", at(family.loopback, 8080))

			// A mesh's proxy passes probes on.
			w.must("answering", f.Answer([]probe.Probe{{Kind: probe.HTTP, Port: 8080, Path: "/healthz"}, {Kind: probe.TCP, Port: 5000}}, true))
			sidecar.expect("ok", "get http://%s/healthz", at(family.loopback, 8080))
			sidecar.expect("ok", "get http://%s/healthz", at(family.pod, 8080))
			sidecar.expect("reset", "get http://%s/orders", at(family.pod, 8080))
			check(t, "no probe any more", kubelet.tcp(9000, ""), "refused")

			// Probes go where the local process listens.
			s := w.stolen(f, Port{Number: 5000})
			check(t, "data to a stolen port", kubelet.tcp(5000, "hello\n"), "data")
			w.must("giving back", s.Close())
			check(t, "after it was given back", kubelet.tcp(5000, "hello\n"), "reset")

			w.must("closing", f.Close())
			w.clean()
		})
	}
}
