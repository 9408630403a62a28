package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Link is what a session runs over: an ordered, lossless byte stream.
type Link interface {
	// Read as io.Reader; one goroutine reads, all the time.
	Read(p []byte) (int, error)
	// Write sends the parts together and may wait.
	Write(parts ...[]byte) error
	// Push sends the parts together and never waits.
	Push(parts ...[]byte) error
	// RoundTrip is a recent one, 0 if unknown.
	RoundTrip() time.Duration
	// Fail ends the link.
	Fail(err error)
}

// Config of one end of a session.
type Config struct {
	// Odd says that this end opens the streams of odd numbers: the owner's.
	Odd bool
	// Window that each stream begins with, in bytes, a power of two.
	Window int
	// MaxWindow that one stream may grow to, a power of two.
	MaxWindow int
	// Budget of all growth together, in bytes.
	Budget int64
	// MaxStreams that the other end may have open.
	MaxStreams int
	// Accept is called in a goroutine of its own for each stream that the
	// other end opens. It must Reply or Reset.
	Accept func(s *Stream, header []byte)
}

// Reset codes. Others are the application's.
const (
	CodeReset    = 0 // the connection was reset
	CodeRefused  = 1 // nobody is there (any more)
	CodeTooMany  = 2 // more streams than the other end takes
	CodeCanceled = 3 // the opener has stopped waiting
)

// ResetError says that the other end, or this one, reset the stream.
type ResetError struct {
	Code   byte
	Remote bool
}

func (e *ResetError) Error() string {
	switch e.Code {
	case CodeTooMany:
		return "too many streams"
	case CodeRefused:
		return "stream refused"
	case CodeCanceled:
		return "stream cancelled"
	}
	return "stream reset"
}

var errExhausted = errors.New("stream numbers are used up")

// Session is one end.
type Session struct {
	link   Link
	config Config
	budget atomic.Int64

	// turn is held while a DATA frame is written: a Go mutex that is fought
	// over hands itself on in order, so busy streams take turns.
	turn sync.Mutex

	mu       sync.Mutex
	streams  map[uint32]*Stream
	incoming int
	next     uint32
	err      error
	done     chan struct{}
	handlers sync.WaitGroup
}

// New makes a session over link; Start begins it.
func New(link Link, config Config) *Session {
	s := &Session{link: link, config: config, streams: map[uint32]*Stream{}, next: 2, done: make(chan struct{})}
	if config.Odd {
		s.next = 1
	}
	s.budget.Store(config.Budget)
	return s
}

// Start begins to read. Accept is not called before.
func (s *Session) Start() { go s.receive() }

// Done is closed when the session has ended, with its link.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why it ended.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Wait returns when the session has ended and all Accept calls have returned.
func (s *Session) Wait() {
	<-s.done
	s.handlers.Wait()
}

// Streams is how many are open.
func (s *Session) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Open opens a stream, waits for the reply and returns both. When ctx is done
// first the stream is reset.
func (s *Session) Open(ctx context.Context, head []byte) (*Stream, []byte, error) {
	if len(head) > MaxHeader {
		return nil, nil, fmt.Errorf("opening a stream: header of %d bytes", len(head))
	}
	stream, err := s.register(head)
	if err != nil {
		return nil, nil, err
	}
	select {
	case reply := <-stream.reply:
		return stream, reply, nil
	case <-stream.dead:
		// The reply and a reset may both have come.
		select {
		case reply := <-stream.reply:
			return stream, reply, nil
		default:
		}
		return nil, nil, stream.Err()
	case <-ctx.Done():
		stream.Reset(CodeCanceled)
		return nil, nil, context.Cause(ctx)
	}
}

// register numbers a new stream and sends its OPEN, in the numbers' order.
func (s *Session) register(head []byte) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.next >= 1<<31 {
		return nil, errExhausted
	}
	stream := newStream(s, s.next)
	stream.reply = make(chan []byte, 1)
	s.next += 2
	h := header{frameOpen, 4 + len(head), stream.id}.encode()
	if err := s.link.Push(h[:], s.window(), head); err != nil {
		return nil, err
	}
	s.streams[stream.id] = stream
	return stream, nil
}

func (s *Session) window() []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(s.config.Window))
}

func (s *Session) lookup(id uint32) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

func (s *Session) remove(stream *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[stream.id] == stream {
		delete(s.streams, stream.id)
		if !s.own(stream.id) {
			s.incoming--
		}
	}
}

// own says whether this end opens streams of that number.
func (s *Session) own(id uint32) bool { return (id%2 == 1) == s.config.Odd }

// push sends a small frame.
func (s *Session) push(kind byte, id uint32, payload ...byte) {
	h := header{kind, len(payload), id}.encode()
	// A link that has failed is seen by the reader.
	_ = s.link.Push(h[:], payload)
}

// receive reads frames until the link ends. It never waits for anything but
// the link, as each stream has room for what its window allows.
func (s *Session) receive() {
	err := s.loop()
	s.link.Fail(err)
	s.mu.Lock()
	s.err = err
	streams := s.streams
	s.streams = map[uint32]*Stream{}
	s.incoming = 0
	close(s.done)
	s.mu.Unlock()
	for _, stream := range streams {
		stream.die(err)
	}
}

func (s *Session) loop() error {
	var head [headerSize]byte
	small := make([]byte, 4+MaxHeader)
	last := uint32(0) // number that the other end opened last
	for {
		if _, err := io.ReadFull(s.link, head[:]); err != nil {
			return err
		}
		h, err := decodeHeader(head)
		if err != nil {
			return err
		}
		if h.kind == frameData {
			if err := s.data(h, small); err != nil {
				return err
			}
			continue
		}
		payload := small[:h.length]
		if _, err := io.ReadFull(s.link, payload); err != nil {
			return err
		}
		if h.kind == frameOpen {
			if s.own(h.id) || h.id <= last {
				return fmt.Errorf("the other end opened stream %d after %d", h.id, last)
			}
			last = h.id
			s.opened(h.id, payload)
			continue
		}
		// Frames for streams that have just ended here are on their way still.
		if stream := s.lookup(h.id); stream != nil {
			if err := stream.control(h.kind, payload); err != nil {
				return err
			}
		}
	}
}

func (s *Session) opened(id uint32, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incoming >= s.config.MaxStreams || s.config.Accept == nil {
		s.push(frameReset, id, CodeTooMany)
		return
	}
	stream := newStream(s, id)
	stream.credit = uint64(binary.BigEndian.Uint32(payload))
	s.streams[id] = stream
	s.incoming++
	head := append([]byte(nil), payload[4:]...)
	s.handlers.Go(func() { s.config.Accept(stream, head) })
}

// data reads a DATA frame's bytes straight into the stream's buffer.
func (s *Session) data(h header, scratch []byte) error {
	stream := s.lookup(h.id)
	if stream == nil {
		_, err := io.ReadFull(s.link, scratch[:h.length])
		return err
	}
	first, second, err := stream.reserve(h.length)
	if err != nil {
		return err
	}
	if first == nil {
		_, err := io.ReadFull(s.link, scratch[:h.length])
		return err
	}
	if _, err := io.ReadFull(s.link, first); err != nil {
		stream.filled(0)
		return err
	}
	if _, err := io.ReadFull(s.link, second); err != nil {
		stream.filled(0)
		return err
	}
	stream.filled(h.length)
	return nil
}
