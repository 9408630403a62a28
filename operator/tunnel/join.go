package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// join carries bytes, ends and resets between a stream and a connection in the
// pod until both directions have ended. It closes both.
func join(stream *mux.Stream, conn net.Conn) {
	// Both directions may be waiting for the pod's side, which does nothing.
	stream.OnDead(func() { reset(conn) })
	up := make(chan struct{})
	go func() {
		defer close(up)
		carryUp(stream, conn)
	}()
	carryDown(stream, conn)
	<-up
	conn.Close()
	stream.Close()
}

// carryDown carries from the stream to the connection.
func carryDown(stream *mux.Stream, conn net.Conn) {
	watched := &watchedWriter{w: conn}
	_, err := stream.WriteTo(watched)
	switch {
	case err == nil:
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	case watched.err != nil:
		// Nobody takes it any more at the pod's side.
		stream.Reset(mux.CodeReset)
		reset(conn)
	default:
		// Reset, or the owner is gone: that is not an end of file.
		reset(conn)
	}
}

// carryUp carries from the connection to the stream.
func carryUp(stream *mux.Stream, conn net.Conn) {
	err := copyUp(stream, conn)
	switch {
	case errors.Is(err, io.EOF):
		_ = stream.CloseWrite()
	case errors.Is(err, mux.ErrStopped):
		// Reads no more, but may go on writing: the connection is closed when
		// that has ended too.
	case stream.Err() != nil:
		reset(conn)
	default:
		stream.Reset(mux.CodeReset)
		reset(conn)
	}
}

// copyUp copies until an error, io.EOF among them.
func copyUp(stream *mux.Stream, conn net.Conn) error {
	from := newSource(conn)
	for {
		credit, err := stream.AwaitCredit()
		if err != nil {
			return err
		}
		piece, n, err := from.read(0, credit)
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err == nil {
			_, err = stream.Write(piece[:n])
		}
		from.done(piece)
		if err != nil {
			return err
		}
	}
}

// reset closes conn so that its other end is reset too.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// joinFlow carries datagrams until either side ends or no traffic has been
// seen for idle.
func joinFlow(ctx context.Context, stream *mux.Stream, conn net.Conn, idle time.Duration) {
	f := &flow{stream: stream}
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	down := make(chan struct{})
	go func() {
		defer close(down)
		for {
			packet, err := f.next()
			if err != nil {
				conn.Close()
				return
			}
			last.Store(time.Now().UnixNano())
			// A refusal of the packet before; the reader says it.
			_, _ = conn.Write(packet)
		}
	}()
	err := flowUp(f, conn, &last, idle)
	if errors.Is(err, syscall.ECONNREFUSED) {
		stream.Reset(mux.CodeRefused)
	}
	stream.Close()
	conn.Close()
	<-down
}

// flowUp carries from the socket to the stream.
func flowUp(f *flow, conn net.Conn, last *atomic.Int64, idle time.Duration) error {
	from := newSource(conn)
	for {
		conn.SetReadDeadline(time.Unix(0, last.Load()).Add(idle))
		piece, n, err := from.read(2, pieceSize)
		if err == nil {
			last.Store(time.Now().UnixNano())
			// Where the owner does not keep up a datagram is lost, as datagrams
			// are; the piece must not wait for it.
			if f.stream.Credit() >= 2+n {
				binary.BigEndian.PutUint16(piece[:2], uint16(n))
				_, err = f.stream.Write(piece[:2+n])
			} else {
				err = f.stream.Err()
			}
		}
		from.done(piece)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, last.Load())) < idle {
			continue // there was traffic the other way
		}
		if err != nil {
			return err
		}
	}
}
