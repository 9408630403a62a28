package stage

import (
	"context"
	"net"
	"net/netip"

	"understudy.dev/understudy/operator/tunnel"
)

// Remote is what the stage needs of the pod: its network, and its files.
// Errors are the tunnel's, tested with errors.Is. All methods may be used at
// the same time.
type Remote interface {
	// DialTCP connects from the pod's network.
	DialTCP(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error)
	// DialUDP opens a flow: each Write and each Read is one datagram.
	DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Listen opens a TCP or UDP port in the cluster.
	Listen(ctx context.Context, request tunnel.ListenRequest) (Listener, error)
	// ReadTree reads the files of one mount of the welcome.
	ReadTree(ctx context.Context, mount string) (tunnel.Tree, error)
}

// Listener is one port open in the cluster. The RemoteAddr of what it accepts
// is the peer's own address.
type Listener interface {
	// Accept waits for a connection to a TCP port.
	Accept() (tunnel.Conn, error)
	// AcceptFlow waits for a peer of a UDP port: each Read is a datagram of its,
	// each Write one to it, until it has been silent for long (io.EOF).
	AcceptFlow() (net.Conn, error)
	Close() error
}

// Tunnel is the Remote at the other end of a tunnel.
func Tunnel(client *tunnel.Client) Remote { return tunnelRemote{client} }

type tunnelRemote struct{ *tunnel.Client }

func (t tunnelRemote) Listen(ctx context.Context, request tunnel.ListenRequest) (Listener, error) {
	listener, err := t.Client.Listen(ctx, request)
	if err != nil {
		return nil, err
	}
	return listener, nil
}
