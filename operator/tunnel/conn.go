package tunnel

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// Conn is one connection through the tunnel: of DialTCP, or accepted by a
// Listener. An end that was reset gives ErrReset on Read and Write.
type Conn interface {
	net.Conn
	// WriterTo copies without a buffer; io.Copy uses it.
	io.WriterTo
	// CloseWrite ends the sending direction: the far end reads io.EOF.
	CloseWrite() error
	// CloseRead says that no more is read: the far end cannot write any more.
	CloseRead() error
	// Reset ends both directions at once and resets the far connection.
	Reset() error
}

// tcpConn is a stream as a connection.
type tcpConn struct {
	stream        *mux.Stream
	local, remote netip.AddrPort
}

func (c *tcpConn) Read(p []byte) (int, error) {
	n, err := c.stream.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = streamError(err)
	}
	return n, err
}

func (c *tcpConn) Write(p []byte) (int, error) {
	n, err := c.stream.Write(p)
	return n, streamError(err)
}

// WriteTo writes to w all that is read. An error of the connection itself is
// translated, one of w is returned as it is.
func (c *tcpConn) WriteTo(w io.Writer) (int64, error) {
	watched := &watchedWriter{w: w}
	n, err := c.stream.WriteTo(watched)
	if err != nil && watched.err == nil {
		err = streamError(err)
	}
	return n, err
}

type watchedWriter struct {
	w   io.Writer
	err error
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

func (c *tcpConn) Close() error      { return c.stream.Close() }
func (c *tcpConn) CloseRead() error  { return c.stream.CloseRead() }
func (c *tcpConn) CloseWrite() error { return streamError(c.stream.CloseWrite()) }

func (c *tcpConn) Reset() error {
	c.stream.Reset(mux.CodeReset)
	return nil
}

func (c *tcpConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *tcpConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *tcpConn) SetDeadline(t time.Time) error      { return c.stream.SetDeadline(t) }
func (c *tcpConn) SetReadDeadline(t time.Time) error  { return c.stream.SetReadDeadline(t) }
func (c *tcpConn) SetWriteDeadline(t time.Time) error { return c.stream.SetWriteDeadline(t) }
