package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

var errWindow = errors.New("the other end sent more than it may")

// reserve gives the session's reader memory for n bytes, or none where they
// are to be thrown away.
func (s *Stream) reserve(n int) (first, second []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.stopped {
		return nil, nil, nil
	}
	if s.eof || s.in.w+uint64(n) > s.limit {
		return nil, nil, fmt.Errorf("stream %d: %w", s.id, errWindow)
	}
	s.filling = true
	first, second = s.in.reserve(n, s.taking)
	return first, second, nil
}

// filled says that n bytes have been put there.
func (s *Stream) filled(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filling = false
	s.in.w += uint64(n)
	if s.err != nil || s.stopped {
		s.freeLocked()
		return
	}
	s.readable.Broadcast()
}

// freeLocked gives the buffer back once nobody is in it.
func (s *Stream) freeLocked() {
	if !s.filling && !s.taking {
		s.in.free()
		s.settleLocked()
	}
}

// awaitLocked waits until there is something to read.
func (s *Stream) awaitLocked() error {
	for {
		switch {
		case s.err != nil:
			return s.err
		case s.stopped:
			return ErrStreamClosed
		case s.in.len() > 0 && !s.taking:
			return nil
		case s.eof && s.in.len() == 0:
			return io.EOF
		}
		if err := s.readDeadline.err(); err != nil {
			return err
		}
		s.readable.Wait()
	}
}

// Read reads what has arrived, or waits.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.awaitLocked(); err != nil {
		return 0, err
	}
	n := copy(p, s.in.content())
	s.in.r += uint64(n)
	if n < len(p) {
		more := copy(p[n:], s.in.content())
		s.in.r += uint64(more)
		n += more
	}
	s.takenLocked()
	return n, nil
}

// WriteTo writes all that arrives to w, straight from the buffer, until the
// other end has ended its direction.
func (s *Stream) WriteTo(w io.Writer) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(0)
	for {
		if err := s.awaitLocked(); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, err
		}
		content := s.in.content()
		s.taking = true
		s.mu.Unlock()
		n, err := w.Write(content)
		s.mu.Lock()
		s.taking = false
		total += int64(n)
		if s.err == nil && !s.stopped {
			s.in.r += uint64(n)
			s.takenLocked()
		} else {
			s.freeLocked()
		}
		if err != nil {
			return total, err
		}
	}
}

// takenLocked lets the other end send more, after something was read.
func (s *Stream) takenLocked() {
	if s.in.len() == 0 {
		s.freeLocked()
	}
	if s.eof {
		return
	}
	now := time.Now()
	if since := now.Sub(s.granted); since > idleWindow && s.window > uint64(s.session.config.Window) && !s.granted.IsZero() {
		// What was promised stays promised: the window is smaller once that
		// much has been read.
		s.shrinkLocked(max(s.window/2, uint64(s.session.config.Window), s.limit-s.in.r))
		s.granted = now
	}
	if s.in.r+s.window < s.limit+s.window/2 {
		return
	}
	// All of half a window within two round trips: the window, not the
	// reader, is what holds the other end back.
	if now.Sub(s.granted) < 2*max(s.session.link.RoundTrip(), time.Millisecond) {
		s.growLocked()
	}
	s.granted = now
	more := s.in.r + s.window - s.limit
	s.limit += more
	s.session.push(frameWindow, s.id, binary.BigEndian.AppendUint32(nil, uint32(more))...)
}

// growLocked doubles the window if the budget has four times that left, so
// that no stream can take all of it.
func (s *Stream) growLocked() {
	if s.window*2 > uint64(s.session.config.MaxWindow) {
		return
	}
	more := int64(s.window)
	if left := s.session.budget.Add(-more); left < 3*more {
		s.session.budget.Add(more)
		return
	}
	s.window *= 2
}

// shrinkLocked gives what is above size back to the budget.
func (s *Stream) shrinkLocked(size uint64) {
	if s.window > size {
		s.session.budget.Add(int64(s.window - size))
		s.window = size
	}
}

// Write sends p, and waits while the other end has no room for it.
func (s *Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writableLocked(func() bool { return !s.writing }); err != nil {
		return 0, err
	}
	s.writing = true
	defer func() {
		s.writing = false
		if s.writeEnd {
			s.finLocked()
		}
		s.writable.Broadcast()
	}()
	total := 0
	for total < len(p) {
		if err := s.writableLocked(func() bool { return s.credit > 0 }); err != nil {
			return total, err
		}
		n := min(len(p)-total, MaxData, int(min(s.credit, MaxData)))
		s.credit -= uint64(n)
		s.mu.Unlock()
		err := s.session.send(s.id, p[total:total+n])
		s.mu.Lock()
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// AwaitCredit waits until some bytes can be written, and says how many.
func (s *Stream) AwaitCredit() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writableLocked(func() bool { return s.credit > 0 })
	return int(min(s.credit, 1<<30)), err
}

// Credit is how many bytes can be written now without waiting.
func (s *Stream) Credit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(min(s.credit, 1<<30))
}

// writableLocked waits until ready, or says why nothing can be written.
func (s *Stream) writableLocked(ready func() bool) error {
	for {
		switch {
		case s.err != nil:
			return s.err
		case s.writeEnd:
			return ErrStreamClosed
		case s.refused:
			return ErrStopped
		case ready():
			return s.writeDeadline.err()
		}
		if err := s.writeDeadline.err(); err != nil {
			return err
		}
		s.writable.Wait()
	}
}

// send writes one DATA frame when it is this stream's turn.
func (s *Session) send(id uint32, p []byte) error {
	h := header{frameData, len(p), id}.encode()
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.link.Write(h[:], p)
}
