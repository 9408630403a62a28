package replay

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
)

// Write appends the parts to the stream, together, and waits while too much is
// queued. What was appended arrives, unless the link ends.
func (l *Link) Write(parts ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && l.closing == 0 &&
		(l.backlog.end-l.sent >= queueLimit || l.backlog.len() >= backlogLimit) {
		l.space.Wait()
	}
	return l.appendLocked(parts)
}

// Push appends the parts and never waits; it is for small things that must not
// wait for the other end. Where the other end takes nothing for so long that
// even these add up to a MiB, the link ends.
func (l *Link) Push(parts ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.backlog.len() >= backlogLimit+pushLimit {
		l.failLocked(errOverflow)
	}
	return l.appendLocked(parts)
}

func (l *Link) appendLocked(parts [][]byte) error {
	if l.err != nil {
		return l.err
	}
	if l.closing != 0 {
		return ErrClosed
	}
	for _, part := range parts {
		l.backlog.append(part)
	}
	l.work.Signal()
	return nil
}

// send writes frames to whatever raw connection there is.
func (l *Link) send() {
	batch := make([]byte, 0, batchSize)
	for {
		raw, out, last := l.nextBatch(batch[:0])
		if raw == nil {
			return
		}
		if last {
			raw.SetWriteDeadline(time.Now().Add(goodbye))
		}
		if _, err := raw.Write(out); err != nil {
			l.broken(raw, err)
		}
	}
}

// nextBatch waits until there is something to send and a connection to send it
// over. It returns no connection when the link has ended, and last with what
// closes it.
func (l *Link) nextBatch(b []byte) (raw net.Conn, out []byte, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for yielded := false; ; {
		if l.err != nil {
			return nil, nil, false
		}
		if !l.sendable() {
			l.work.Wait()
			yielded = false
			continue
		}
		if yielded || l.backlog.end-l.sent >= maxData {
			break
		}
		// Whoever woke us is likely to write more at once.
		yielded = true
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
	}
	if l.wantAck {
		b = appendValue(b, frameAck, l.received)
		l.acked, l.wantAck = l.received, false
	}
	if l.wantPing {
		l.pinged, l.wantPing = time.Now(), false
		b = appendValue(b, framePing, uint64(l.pinged.Sub(l.began)))
	}
	for _, pong := range l.pongs {
		b = appendValue(b, framePong, pong)
	}
	l.pongs = l.pongs[:0]
	for l.sent < l.backlog.end && len(b)+maxHeaders < batchSize {
		n := min(int(l.backlog.end-l.sent), maxData, batchSize-len(b)-maxHeaders)
		b = appendDataHeader(b, n)
		at := len(b)
		b = b[:at+n]
		l.backlog.copyTo(b[at:], l.sent)
		l.sent += uint64(n)
	}
	l.everSent = max(l.everSent, l.sent)
	if l.closing != 0 && l.sent == l.backlog.end {
		b = append(b, frameClose, byte(l.closing))
		l.saidBye, last = true, true
	}
	l.space.Broadcast()
	return l.raw, b, last
}

// maxHeaders is kept free in a batch for a DATA header and a CLOSE.
const maxHeaders = 8

func (l *Link) sendable() bool {
	return l.raw != nil && !l.saidBye &&
		(l.sent < l.backlog.end || l.wantAck || l.wantPing || len(l.pongs) > 0 || l.closing != 0)
}

// broken gives raw up, unless another has taken its place already.
func (l *Link) broken(raw net.Conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.raw == raw {
		l.dropLocked(err)
	}
}

// Read reads the stream. It waits over broken connections for the next, and
// fails only when the link has ended.
func (l *Link) Read(p []byte) (int, error) {
	for {
		raw, err := l.enter()
		if err != nil {
			return 0, err
		}
		n, err := l.readRaw(p)
		l.leave(raw, n, err)
		if n > 0 {
			return n, nil
		}
	}
}

// enter waits for a connection and takes it for reading.
func (l *Link) enter() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.raw == nil && l.err == nil {
		l.state.Wait()
	}
	if l.err != nil {
		return nil, l.err
	}
	l.reading = true
	return l.raw, nil
}

// leave counts what was read and gives the connection back.
func (l *Link) leave(raw net.Conn, n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading = false
	l.received += uint64(n)
	if l.received-l.acked >= ackEvery && !l.wantAck {
		l.wantAck = true
		l.work.Signal()
	}
	if err != nil {
		if closed, ok := errors.AsType[*ClosedError](err); ok {
			l.failLocked(closed)
		} else if l.raw == raw {
			l.dropLocked(err)
		}
	}
	l.state.Broadcast()
}

// readRaw reads from the current connection up to one piece of the stream, and
// handles the control frames before it.
func (l *Link) readRaw(p []byte) (int, error) {
	var scratch [8]byte
	for l.left == 0 {
		f, err := readFrame(l.in, scratch[:])
		if err != nil {
			return 0, err
		}
		if f.kind == frameData {
			l.left = int(f.value)
			break
		}
		if err := l.control(f); err != nil {
			return 0, err
		}
	}
	n, err := l.in.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

func (l *Link) control(f frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch f.kind {
	case frameAck:
		if f.value < l.backlog.start || f.value > l.sent {
			return fmt.Errorf("acknowledgement of byte %d, of %d to %d", f.value, l.backlog.start, l.sent)
		}
		l.backlog.release(f.value)
		l.space.Broadcast()
	case framePing:
		if len(l.pongs) >= maxPongs {
			return errPings
		}
		l.pongs = append(l.pongs, f.value)
		l.work.Signal()
	case framePong:
		l.took(time.Since(l.began) - time.Duration(f.value))
		if f.value == uint64(l.pinged.Sub(l.began)) { // else it is of one before
			l.answered.at(l.pinged, l.began)
		}
	case frameClose:
		return &ClosedError{Reason: Reason(f.value)}
	}
	return nil
}

// maxPongs that may wait to be sent: a peer pings about once a second.
const maxPongs = 64

var errPings = errors.New("the other end pings faster than it reads")
