package tunnel

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

const (
	// pieceSize of one read from a connection in the pod, in bytes; with room
	// for a datagram and its length.
	pieceSize = 64 << 10
	// pieces that there are, for all connections together. They are held only
	// from a read to the end of the write to the link, never while either end
	// of a connection is idle or slow.
	pieces = 32
)

var (
	pieceSlots = make(chan struct{}, pieces)
	piecePool  = sync.Pool{New: func() any { return new([pieceSize]byte) }}
)

// source reads from a connection, and takes memory only when there is
// something to read.
type source struct {
	conn net.Conn
	raw  syscall.RawConn
	own  *[pieceSize]byte // for connections without a descriptor
}

func newSource(conn net.Conn) *source {
	s := &source{conn: conn}
	if file, ok := conn.(syscall.Conn); ok {
		s.raw, _ = file.SyscallConn()
	}
	if s.raw == nil {
		s.own = new([pieceSize]byte)
	}
	return s
}

// read waits for data and reads up to limit bytes of it into a piece, from
// offset at on. The piece, nil where there is none, goes back with done.
func (s *source) read(at, limit int) (piece *[pieceSize]byte, n int, err error) {
	end := min(at+limit, pieceSize)
	if s.raw == nil {
		n, err = s.conn.Read(s.own[at:end])
		return s.own, n, err
	}
	waitErr := s.raw.Read(func(fd uintptr) bool {
		pieceSlots <- struct{}{}
		piece = piecePool.Get().(*[pieceSize]byte)
		n, err = readDescriptor(fd, piece[at:end])
		if !errors.Is(err, syscall.EAGAIN) {
			return true
		}
		s.done(piece)
		piece = nil
		return false
	})
	if waitErr != nil {
		err = waitErr
	}
	return piece, max(n, 0), err
}

func (s *source) done(piece *[pieceSize]byte) {
	if piece != nil && piece != s.own {
		piecePool.Put(piece)
		<-pieceSlots
	}
}
