package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// ErrStopped: the other end reads no more, so nothing can be written.
var ErrStopped = errors.New("the other end has stopped reading")

// ErrStreamClosed: this end has closed the stream, or that direction of it.
var ErrStreamClosed = errors.New("use of closed stream")

// idleWindow of no traffic after which a grown window shrinks again.
const idleWindow = time.Second

// Stream is one two-way stream. Reads and writes may be done at the same time,
// from any goroutine.
type Stream struct {
	session *Session
	id      uint32
	reply   chan []byte   // for the opener
	dead    chan struct{} // closed with err set

	mu       sync.Mutex
	readable sync.Cond
	writable sync.Cond
	err      error
	onDead   func()

	// Receiving.
	in      ring
	limit   uint64 // offset up to which the other end may send
	window  uint64
	granted time.Time
	filling bool // the session's reader is writing into in
	taking  bool // a WriteTo has a slice of in
	eof     bool // the other end has ended its direction
	stopped bool // this end reads no more
	over    bool // both directions have ended

	// Sending.
	replied  bool
	credit   uint64
	writing  bool // a Write is in progress
	writeEnd bool // CloseWrite was called
	finSent  bool
	refused  bool // the other end reads no more

	readDeadline, writeDeadline deadline
}

func newStream(session *Session, id uint32) *Stream {
	s := &Stream{session: session, id: id, dead: make(chan struct{})}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	s.window = uint64(session.config.Window)
	s.limit = s.window
	s.readDeadline.cond, s.writeDeadline.cond = &s.readable, &s.writable
	return s
}

// ID is the stream's number, the same at both ends.
func (s *Stream) ID() uint32 { return s.id }

// Err is why the stream was reset or lost, nil before.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Dead is closed when the stream is reset or lost; not when it ends well.
func (s *Stream) Dead() <-chan struct{} { return s.dead }

// OnDead calls f when the stream is reset or lost, at once where it already
// is; not when it ends well. f must not wait, nor use the stream. Once a stream.
func (s *Stream) OnDead(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		f()
		return
	}
	s.onDead = f
}

// Reply answers the opener; only then can either end send. Once a stream.
func (s *Stream) Reply(reply []byte) error {
	if len(reply) > MaxHeader {
		return fmt.Errorf("replying to a stream: %d bytes", len(reply))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.replied = true
	h := header{frameReply, 4 + len(reply), s.id}.encode()
	return s.session.link.Push(h[:], s.session.window(), reply)
}

// control handles all frames but OPEN and DATA; it is called by the session's
// reader and does not wait.
func (s *Stream) control(kind byte, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case frameReply:
		if s.reply == nil || s.replied {
			return fmt.Errorf("a second reply to stream %d", s.id)
		}
		s.replied = true
		s.credit = uint64(binary.BigEndian.Uint32(payload))
		s.reply <- append([]byte(nil), payload[4:]...)
	case frameWindow:
		s.credit += uint64(binary.BigEndian.Uint32(payload))
		s.writable.Broadcast()
	case frameFin:
		s.eof = true
		s.readable.Broadcast()
		s.endedLocked()
	case frameStop:
		s.refused = true
		s.writable.Broadcast()
		s.endedLocked()
	case frameReset:
		s.dieLocked(&ResetError{Code: payload[0], Remote: true})
	}
	return nil
}

// endedLocked forgets the stream in the session once both directions are done.
// What has arrived can still be read.
func (s *Stream) endedLocked() {
	if (s.finSent || s.refused) && (s.eof || s.stopped) && s.err == nil {
		s.session.remove(s)
		s.over = true
		s.settleLocked()
	}
}

// settleLocked gives the growth back to the budget when the stream is over and
// its memory is free.
func (s *Stream) settleLocked() {
	if s.over && s.in.len() == 0 {
		s.shrinkLocked(uint64(s.session.config.Window))
	}
}

func (s *Stream) die(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dieLocked(err)
}

func (s *Stream) dieLocked(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	close(s.dead)
	s.session.remove(s)
	s.over = true
	s.freeLocked()
	s.readable.Broadcast()
	s.writable.Broadcast()
	if s.onDead != nil {
		s.onDead()
	}
}

// Reset ends both directions at once: the other end gets a ResetError of that
// code, what it has not read is lost.
func (s *Stream) Reset(code byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.session.push(frameReset, s.id, code)
	s.dieLocked(&ResetError{Code: code})
}

// Close ends both directions: the other end reads what was sent, then io.EOF,
// and cannot write any more.
func (s *Stream) Close() error {
	_ = s.CloseWrite()
	return s.CloseRead()
}

// CloseRead discards what has arrived and tells the other end that nothing
// more is read.
func (s *Stream) CloseRead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.stopped {
		return nil
	}
	s.stopped = true
	if !s.eof {
		s.session.push(frameStop, s.id)
	}
	s.freeLocked()
	s.readable.Broadcast()
	s.endedLocked()
	return nil
}

// CloseWrite ends the sending direction after what was written.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.writeEnd = true
	s.writable.Broadcast()
	if !s.writing {
		s.finLocked()
	}
	return nil
}

func (s *Stream) finLocked() {
	if s.finSent || s.err != nil {
		return
	}
	s.finSent = true
	if !s.refused {
		s.session.push(frameFin, s.id)
	}
	s.endedLocked()
}

// SetDeadline, SetReadDeadline and SetWriteDeadline are those of net.Conn; a
// Write whose bytes wait for the link itself is not interrupted.
func (s *Stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readDeadline.set(t)
	return nil
}

func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeDeadline.set(t)
	return nil
}

// deadline wakes those who wait on cond when its time has come.
type deadline struct {
	cond  *sync.Cond
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time) {
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if !t.IsZero() {
		cond := d.cond
		d.timer = time.AfterFunc(time.Until(t), func() {
			cond.L.Lock()
			defer cond.L.Unlock()
			cond.Broadcast()
		})
	}
	d.cond.Broadcast()
}

func (d *deadline) err() error {
	if !d.at.IsZero() && !time.Now().Before(d.at) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

var _ io.WriterTo = (*Stream)(nil)
