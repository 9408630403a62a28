package fence

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// stolenUDP answers a stolen port as the local process would.
func (w *world) stolenUDP(f *Fence, port Port) *StolenUDP {
	w.t.Helper()
	s, err := f.StealUDP(port)
	w.must("stealing", err)
	go func() {
		buffer := make([]byte, maxDatagram)
		for {
			n, peer, at, err := s.ReadFrom(buffer)
			if err != nil {
				return
			}
			answer := fmt.Sprintf("local %s %s\n", at, peer)
			if text := string(buffer[:n]); strings.HasPrefix(text, "long") {
				answer += strings.Repeat("x", 5000)
			}
			_ = s.WriteTo([]byte(answer), peer, at)
		}
	}()
	w.t.Cleanup(func() { s.Close() })
	return s
}

// long is how many bytes come back when many are asked for, from the node.
func (w *world) long(address string) (n int, err error) {
	err = within(w.node, func() error {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte("long")); err != nil {
			return err
		}
		n, err = conn.Read(make([]byte, maxDatagram))
		return err
	})
	return n, err
}

// Datagrams to a port that the frozen container has come to the local process with
// both their addresses, and its answers come from there.
func TestStealUDP(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			w := newWorld(t)
			target, sidecar, client := w.container("target", targetUser), w.container("sidecar", sidecarUser), w.outside("client")
			target.expect("ok", "listen udp %s", at(anyOf(family.pod), 8125))
			sidecar.expect("ok", "listen udp %s", at(anyOf(family.pod), 8126))
			client.expect("ok target", "dial udp %s", at(family.pod, 8125))
			f := w.fence("s1")
			w.must("raising", f.Raise(w.scope(target, sidecar)))
			client.expect("refused", "dial udp %s", at(family.pod, 8125))

			s := w.stolenUDP(f, Port{Number: 8125})
			answer := client.expect("ok local "+at(family.pod, 8125), "dial udp %s %s", at(family.pod, 8125), family.stranger)
			if !strings.Contains(answer, strings.TrimSuffix(at(family.stranger, 0), "0")) {
				t.Errorf("the peer's address is lost: %s", answer)
			}
			sidecar.expect("ok local "+at(family.loopback, 8125), "dial udp %s", at(family.loopback, 8125))
			sidecar.expect("ok local "+at(family.pod, 8125), "dial udp %s", at(family.pod, 8125))
			client.expect("refused", "dial tcp %s", at(family.pod, 8125))
			w.stolenUDP(f, Port{Number: 8126})
			client.expect("ok sidecar", "dial udp %s", at(family.pod, 8126))
			if _, err := f.StealUDP(Port{Number: 8125}); !errors.Is(err, ErrInUse) {
				t.Errorf("stolen twice: %v", err)
			}
			w.stolenUDP(f, Port{Number: 8127, Loopback: true})
			sidecar.expect("ok local", "dial udp %s", at(family.loopback, 8127))
			if got := client.ask("dial udp %s", at(family.pod, 8127)); got != "refused" {
				t.Errorf("a port of loopback only, from outside: %s", got)
			}

			if n, err := w.long(at(family.pod, 8125)); err != nil || n < 5000 {
				t.Errorf("an answer that is longer than a packet: %d bytes, %v", n, err)
			}

			w.must("giving back", s.Close())
			client.expect("refused", "dial udp %s", at(family.pod, 8125))
			if _, _, _, err := s.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading what was given back: %v", err)
			}
			w.must("closing", f.Close())
			client.expect("ok target", "dial udp %s", at(family.pod, 8125))
			w.clean()
		})
	}
}

// A peer drops what has a wrong checksum, but one of 0 it does not look at.
func TestChecksum(t *testing.T) {
	addr := func(text string) [4]byte { return netip.MustParseAddr(text).As4() }
	// Seen on a wire: 192.168.0.31 to 192.168.0.30, RFC 768 over 2 bytes of data.
	packet := []byte{0x00, 0x14, 0x00, 0x0a, 0x00, 0x0a, 0x00, 0x00, 'H', 'i'}
	if got := checksum4(packet, addr("192.168.0.31"), addr("192.168.0.30")); got != 0x35c5 {
		t.Errorf("got %#04x", got)
	}
}
