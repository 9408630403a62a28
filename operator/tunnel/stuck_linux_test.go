package tunnel

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stuck is a connection to a pod's process that neither reads nor writes,
// filled until no more goes in, and when that process sees it closed.
func stuck(t *testing.T, c *Client) (Conn, <-chan bool) {
	closed := make(chan bool, 1)
	over := make(chan struct{})
	to := serveTCP(t, func(conn *net.TCPConn) {
		conn.SetReadBuffer(4 << 10)
		raw, _ := conn.SyscallConn()
		for {
			var info *unix.TCPInfo
			raw.Control(func(fd uintptr) { info, _ = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
			if info != nil && info.State == 7 { // TCP_CLOSE
				closed <- true
				return
			}
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { close(over) }) // before the server is waited for
	conn, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		_, err = conn.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("filling a connection: %v", err)
	}
	return conn, closed
}

// A reset gets through to a pod's process that does nothing with its
// connection: a broker that has stopped reading must not keep a consumer that
// is gone.
func TestResetOfAStuckConnection(t *testing.T) {
	s := newStand(t, overTCP(t))
	c := s.connect(s.clientConfig())
	conn, closed := stuck(t, c)
	conn.Reset()
	awaitClosed(t, closed)
}

// What stands still is closed with its owner as well, and the next owner is
// let in.
func TestByeOfStuckConnections(t *testing.T) {
	s := newStand(t, overTCP(t))
	first := s.connect(s.clientConfig())
	_, closed := stuck(t, first)
	first.Close()
	awaitClosed(t, closed)
	s.connect(s.clientConfig()).Close()
}

func awaitClosed(t *testing.T, closed <-chan bool) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the pod's side is open still")
	}
}
