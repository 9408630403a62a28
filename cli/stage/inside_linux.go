package stage

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/network"
)

// lookEvery is how soon the keeper hears of what begins to listen. Asking takes
// a few microseconds.
const lookEvery = 50 * time.Millisecond

// dialInsideTimeout for a connection over loopback.
const dialInsideTimeout = 5 * time.Second

// list is what listens in the stage now.
func (h *hand) list() ([]network.Socket, error) {
	h.sockets.Lock()
	defer h.sockets.Unlock()
	if h.watcher == nil {
		return nil, errors.New("listing sockets: the stage is not built")
	}
	return h.watcher.Sockets()
}

// followSockets tells the keeper whenever something has begun or ceased to
// listen. The kernel has no event for that.
func (h *hand) followSockets() {
	var last []network.Socket
	for range time.Tick(lookEvery) {
		sockets, err := h.list()
		if err != nil || slices.Equal(sockets, last) {
			continue
		}
		last = sockets
		if h.keeper.Send(report{Sockets: sockets, HasSockets: true}) != nil {
			return
		}
	}
}

// dialInside connects to a local listener, with the mark that keeps the
// connection from being redirected to the pod.
func dialInside(d dial) (*os.File, error) {
	dialer := net.Dialer{Timeout: dialInsideTimeout, KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, network.Mark)
		})
		return errors.Join(err, failed)
	}}
	if d.From.IsValid() {
		switch d.Network {
		case "tcp":
			dialer.LocalAddr = net.TCPAddrFromAddrPort(d.From)
		case "udp":
			dialer.LocalAddr = net.UDPAddrFromAddrPort(d.From)
		}
	}
	conn, err := dialer.Dial(d.Network, d.To.String())
	if err != nil {
		return nil, fmt.Errorf("connecting inside the stage: %w", err)
	}
	defer conn.Close()
	switch conn := conn.(type) {
	case *net.TCPConn:
		return conn.File()
	case *net.UDPConn:
		return conn.File()
	}
	return nil, fmt.Errorf("connecting inside the stage: unknown network %q", d.Network)
}
