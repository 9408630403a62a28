package tunnel

import (
	"net"
	"sync"
)

// maxPlaintext of one TLS record in bytes (RFC 8446, 5.1).
const maxPlaintext = 16 << 10

// gathering lets the TLS records of one write leave together. TLS writes each
// record by itself, and on the way to the pod whatever is written by itself is
// a frame by itself: each costs every program on the way a turn.
type gathering struct {
	net.Conn

	mu   sync.Mutex
	held bool
	buf  []byte
}

// Write writes p, or keeps it until flush.
func (g *gathering) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held {
		return g.Conn.Write(p)
	}
	g.buf = append(g.buf, p...)
	return len(p), nil
}

// hold keeps what is written from now on.
func (g *gathering) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
}

// flush writes what was kept.
func (g *gathering) flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = false
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}
