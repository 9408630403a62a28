package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
)

// readChunk is how much is taken from the stream at once: the largest piece
// that the websocket's own buffer delivers.
const readChunk = 32 << 10

// writeChunk is the largest frame that leaves as one piece: with SPDY's header
// and the websocket's, of 8 bytes each, it fills two records of TLS, and is
// about what each program on the way reads at once.
const writeChunk = 32<<10 - 16

// conn is a forwarded connection as a net.Conn.
//
// Deadlines: a read deadline works as everywhere. A Write that meets a passed
// deadline, before or while it writes, ends the whole connection, because a
// frame that was written in part cannot be taken back; TLS, which runs inside,
// holds a connection for broken after that anyway.
type conn struct {
	below  httpstream.Connection
	bottom net.Conn // what below runs in; nil for bare SPDY
	data   httpstream.Stream

	chunks chan []byte   // what the pump read
	free   chan []byte   // the buffer, on its way back to the pump
	done   chan struct{} // the pump has ended; err is set
	closed chan struct{}
	once   sync.Once

	readMu sync.Mutex
	rest   []byte // the part of the last chunk that is not delivered yet
	whole  []byte // the buffer that rest is a part of

	errMu sync.Mutex
	err   error

	read  deadline
	write deadline
}

func newConn(below httpstream.Connection, bottom net.Conn, data, failures httpstream.Stream) *conn {
	c := &conn{
		below: below, bottom: bottom, data: data,
		chunks: make(chan []byte), free: make(chan []byte, 2),
		done: make(chan struct{}), closed: make(chan struct{}),
	}
	c.read.init()
	c.write.init()
	c.free <- make([]byte, readChunk)
	c.free <- make([]byte, readChunk)
	said := make(chan struct{})
	go c.listen(failures, said)
	go c.pump(said)
	return c
}

// listen waits for what the node says when the connection fails.
func (c *conn) listen(failures io.Reader, said chan<- struct{}) {
	defer close(said)
	// One message, bounded as everything that comes from elsewhere.
	message, err := io.ReadAll(io.LimitReader(failures, 8<<10))
	if err == nil && len(message) > 0 {
		c.fail(&RemoteError{Message: strings.TrimSpace(string(message))})
		c.shut()
	}
}

func (c *conn) pump(said <-chan struct{}) {
	defer close(c.done)
	for {
		var buf []byte
		select {
		case buf = <-c.free:
		case <-c.closed:
			return
		}
		n, err := c.data.Read(buf)
		if n > 0 {
			select {
			case c.chunks <- buf[:n]:
			case <-c.closed:
				return
			}
		}
		if err != nil {
			// The reason may come on the other stream just after the end came
			// on this one.
			select {
			case <-said:
			case <-c.below.CloseChan():
			case <-c.closed:
			case <-time.After(time.Second):
			}
			c.fail(err)
			return
		}
	}
}

// fail keeps the first reason that the connection ended for.
func (c *conn) fail(err error) {
	c.errMu.Lock()
	defer c.errMu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *conn) reason() error {
	c.errMu.Lock()
	defer c.errMu.Unlock()
	if c.err == nil {
		return net.ErrClosed
	}
	return c.err
}

// Read reads from the pod. When the node refused or ended the connection the
// error is a *RemoteError.
func (c *conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(c.rest) == 0 {
		if c.whole != nil {
			c.free <- c.whole[:readChunk]
			c.whole = nil
		}
		select {
		case <-c.read.passed():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		select {
		case c.rest = <-c.chunks:
			c.whole = c.rest
		case <-c.done:
			return 0, c.reason()
		case <-c.closed:
			return 0, c.reason()
		case <-c.read.passed():
			return 0, os.ErrDeadlineExceeded
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write writes to the pod.
func (c *conn) Write(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, c.reason()
	case <-c.write.passed():
		c.fail(os.ErrDeadlineExceeded)
		c.shut()
		return 0, os.ErrDeadlineExceeded
	default:
	}
	written := make(chan struct{})
	watched := make(chan struct{})
	late := false
	if c.write.armed() {
		go func() {
			defer close(watched)
			select {
			case <-c.write.passed():
				late = true
				c.fail(os.ErrDeadlineExceeded)
				c.shut()
			case <-written:
			}
		}()
	} else {
		close(watched)
	}
	n, err := c.send(p)
	close(written)
	<-watched
	if late {
		return n, os.ErrDeadlineExceeded
	}
	if err != nil {
		c.fail(err)
		return n, fmt.Errorf("writing to the pod: %w", c.reason())
	}
	return n, nil
}

// send writes in pieces of one frame each.
func (c *conn) send(p []byte) (int, error) {
	sent := 0
	for {
		n, err := c.sendPiece(p[:min(len(p), writeChunk)])
		sent += n
		p = p[n:]
		if err != nil || len(p) == 0 {
			return sent, err
		}
	}
}

// sendPiece writes one frame. Nothing interrupts a write of bare SPDY to a
// network that takes nothing, so there it goes on, with a copy, when the
// connection is closed.
func (c *conn) sendPiece(p []byte) (int, error) {
	if c.bottom != nil {
		return c.data.Write(p)
	}
	p = slices.Clone(p)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.data.Write(p)
		wrote <- err
	}()
	select {
	case err := <-wrote:
		if err != nil {
			return 0, err
		}
		return len(p), nil
	case <-c.closed:
		return 0, c.reason()
	}
}

// Close ends the connection at once, whatever the network does.
func (c *conn) Close() error {
	c.fail(net.ErrClosed)
	c.shut()
	return nil
}

func (c *conn) shut() {
	c.once.Do(func() {
		close(c.closed)
		if c.bottom != nil {
			closeBoth(c.below, c.bottom)
			return
		}
		// Bare SPDY can only be asked to end, and waits for the network with
		// that: nobody else shall.
		go closeBoth(c.below, nil)
	})
}

func (c *conn) LocalAddr() net.Addr  { return addr("local") }
func (c *conn) RemoteAddr() net.Addr { return addr("pod") }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }

// addr stands for an end that has no address of its own.
type addr string

func (a addr) Network() string { return "portforward" }
func (a addr) String() string  { return string(a) }

// RemoteError is why the pod's node refused or ended the connection, in its
// own words: "connection refused" where nothing listens on the port.
type RemoteError struct{ Message string }

func (e *RemoteError) Error() string { return "the pod's node says: " + e.Message }
