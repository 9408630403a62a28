package agent

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

func TestListenOnlyWhereAllowed(t *testing.T) {
	free := freePort(t)
	config := settings.Config{
		Port:  7447,
		Ports: []tunnel.Port{{Network: "tcp", Port: free}, {Network: "tcp", Port: 7447}, {Network: "udp", Port: 53}},
	}
	for _, test := range []struct {
		name    string
		request tunnel.ListenRequest
		all     bool
		want    error
	}{
		{"declared", tunnel.ListenRequest{Network: "tcp", Port: free}, false, nil},
		{"declared, on loopback", tunnel.ListenRequest{Network: "tcp", Port: free, Loopback: true}, false, nil},
		{"a debugger's", tunnel.ListenRequest{Network: "tcp", Port: free + 1}, false, tunnel.ErrForbidden},
		{"a debugger's, on loopback", tunnel.ListenRequest{Network: "tcp", Port: free + 1, Loopback: true}, false, tunnel.ErrForbidden},
		{"the agent's own", tunnel.ListenRequest{Network: "tcp", Port: 7447}, true, tunnel.ErrForbidden},
		{"any", tunnel.ListenRequest{Network: "tcp", Port: 0}, true, tunnel.ErrForbidden},
		{"UDP", tunnel.ListenRequest{Network: "udp", Port: 53}, true, tunnel.ErrForbidden},
		{"the UDP port by TCP", tunnel.ListenRequest{Network: "tcp", Port: 53}, false, tunnel.ErrForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := config
			config.ListenAll = test.all
			p := testPod(t, "/", config)
			listener, err := p.Listen(t.Context(), test.request)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			if open := p.state.open[free] == 1; open == test.request.Loopback {
				t.Error("a loopback listener counts for the Services, or another does not")
			}
			if loopback := listener.Addr().(*net.TCPAddr).IP.IsLoopback(); loopback != test.request.Loopback {
				t.Errorf("open on %v", listener.Addr())
			}
			if _, err := p.Listen(t.Context(), test.request); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second time: %v", err)
			}
			listener.Close()
			listener.Close()
			if p.state.open[free] != 0 {
				t.Error("still counted after it was closed")
			}
		})
	}
}

func freePort(t testing.TB) uint16 {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}
