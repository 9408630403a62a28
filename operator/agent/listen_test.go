package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// A port is open where the local process has it, and nowhere else.
func TestListenAtAddresses(t *testing.T) {
	six := true
	if probe, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Log("no IPv6 here: its part is left out")
		six = false
	} else {
		probe.Close()
	}
	for _, test := range []struct {
		addrs     []netip.Addr
		open      []string
		shut      []string
		forbidden bool
		loopback  bool
	}{
		{addrs: nil, open: []string{"127.0.0.1", "127.0.0.2", "::1"}},
		{addrs: nil, loopback: true, open: []string{"127.0.0.1"}, shut: []string{"127.0.0.2", "::1"}},
		{addrs: addrs("0.0.0.0"), open: []string{"127.0.0.1", "127.0.0.2"}, shut: []string{"::1"}},
		{addrs: addrs("::"), open: []string{"::1"}, shut: []string{"127.0.0.1"}},
		{addrs: addrs("0.0.0.0", "::"), open: []string{"127.0.0.1", "::1"}},
		{addrs: addrs("127.0.0.2"), open: []string{"127.0.0.2"}, shut: []string{"127.0.0.1", "::1"}},
		{addrs: addrs("127.0.0.1", "::1"), loopback: true, open: []string{"127.0.0.1", "::1"}, shut: []string{"127.0.0.2"}},
		{addrs: addrs("127.0.0.1", "192.0.2.1"), open: []string{"127.0.0.1"}, shut: []string{"127.0.0.2"}},
		{addrs: addrs("0.0.0.0"), loopback: true, forbidden: true},
	} {
		for _, network := range []string{"tcp", "udp"} {
			t.Run(fmt.Sprint(network, test.addrs, test.loopback), func(t *testing.T) {
				if !six && len(test.addrs) == 1 && test.addrs[0].Is6() {
					t.Skip("no IPv6 here")
				}
				port := freePort(t)
				p := testPod(t, "/", settings.Config{Port: 7447, Ports: []tunnel.Port{{Network: network, Port: port}}})
				request := tunnel.ListenRequest{Network: network, Port: port, Addrs: test.addrs, Loopback: test.loopback}
				err := answerAll(t, p, request)
				if test.forbidden {
					if !errors.Is(err, tunnel.ErrForbidden) {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, host := range slices.Concat(test.open, test.shut) {
					to := netip.AddrPortFrom(netip.MustParseAddr(host), port)
					if to.Addr().Is6() && !six {
						continue
					}
					said, err := ask(network, to)
					if want := slices.Contains(test.open, host); want && (err != nil || said != to.String()) || !want && err == nil {
						t.Errorf("%s: answered %q, %v", to, said, err)
					}
				}
			})
		}
	}
}

// answerAll opens a port and answers each who comes with where it came to.
func answerAll(t *testing.T, p *pod, request tunnel.ListenRequest) error {
	if request.Network == "tcp" {
		listener, err := p.Listen(t.Context(), request)
		if err != nil {
			return err
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(conn, conn.LocalAddr())
				conn.Close()
			}
		}()
		return nil
	}
	sockets, err := p.ListenUDP(t.Context(), request)
	for _, socket := range sockets {
		t.Cleanup(func() { socket.Close() })
		go func() {
			for {
				_, peer, at, err := socket.ReadFrom(make([]byte, 100))
				if err != nil {
					return
				}
				if err := socket.WriteTo([]byte(at.String()), peer, at); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	return err
}

func ask(network string, to netip.AddrPort) (string, error) {
	conn, err := net.Dial(network, to.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if network == "udp" {
		// Connected: an answer from another address would not be taken.
		fmt.Fprint(conn, "?")
	}
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	return string(answer[:n]), err
}
