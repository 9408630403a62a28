package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is one direction of an in-memory link.
type pipe struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  bytes.Buffer
	err  error
}

func newPipe() *pipe {
	p := &pipe{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// memory is a link whose queue has a limit, as the real one has.
type memory struct{ in, out *pipe }

const memoryLimit = 64 << 10

func (m memory) Read(b []byte) (int, error) {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	for m.in.buf.Len() == 0 && m.in.err == nil {
		m.in.cond.Wait()
	}
	if m.in.buf.Len() == 0 {
		return 0, m.in.err
	}
	n, _ := m.in.buf.Read(b)
	m.in.cond.Broadcast()
	return n, nil
}

func (m memory) put(wait bool, parts [][]byte) error {
	m.out.mu.Lock()
	defer m.out.mu.Unlock()
	for wait && m.out.buf.Len() > memoryLimit && m.out.err == nil {
		m.out.cond.Wait()
	}
	if m.out.err != nil {
		return m.out.err
	}
	for _, part := range parts {
		m.out.buf.Write(part)
	}
	m.out.cond.Broadcast()
	return nil
}

func (m memory) Write(parts ...[]byte) error { return m.put(true, parts) }
func (m memory) Push(parts ...[]byte) error  { return m.put(false, parts) }
func (m memory) RoundTrip() time.Duration    { return time.Millisecond }

func (m memory) Fail(err error) {
	for _, p := range []*pipe{m.in, m.out} {
		p.mu.Lock()
		if p.err == nil {
			p.err = err
		}
		p.cond.Broadcast()
		p.mu.Unlock()
	}
}

var small = Config{Window: 8 << 10, MaxWindow: 1 << 20, Budget: 4 << 20, MaxStreams: 2000}

// newPair is a client's and a server's session.
func newPair(t testing.TB, client, server Config, accept func(*Stream, []byte)) (*Session, *Session) {
	a, b := newPipe(), newPipe()
	client.Odd = true
	server.Accept = accept
	c := New(memory{a, b}, client)
	s := New(memory{b, a}, server)
	c.Start()
	s.Start()
	t.Cleanup(func() {
		c.link.Fail(io.ErrClosedPipe)
		c.Wait()
		s.Wait()
	})
	return c, s
}

func echo(s *Stream, _ []byte) {
	s.Reply(nil)
	if _, err := s.WriteTo(s); err == nil {
		s.CloseWrite()
	}
}

func TestHeaderAndReply(t *testing.T) {
	client, _ := newPair(t, small, small, func(s *Stream, header []byte) {
		s.Reply(append([]byte("re: "), header...))
		s.Close()
	})
	stream, reply, err := client.Open(context.Background(), []byte("hello"))
	if err != nil || string(reply) != "re: hello" {
		t.Fatalf("%q, %v", reply, err)
	}
	if rest, err := io.ReadAll(stream); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	stream.Close()
	if n := client.Streams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// Many streams at once, each its own bytes in pieces of any size.
func TestEchoMany(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	client, server := newPair(t, small, small, echo)
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			data := make([]byte, random.IntN(300_000))
			rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			stream, _, err := client.Open(context.Background(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			group.Go(func() {
				for rest := data; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(50_000))
					if _, err := stream.Write(rest[:n]); err != nil {
						t.Error(err)
					}
					rest = rest[n:]
				}
				stream.CloseWrite()
			})
			got, err := io.ReadAll(stream)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back of %d: %v", len(got), len(data), err)
			}
		})
	}
	group.Wait()
	if client.Streams() != 0 {
		t.Errorf("%d streams are left", client.Streams())
	}
	if left := server.budget.Load(); left != small.Budget {
		t.Errorf("%d bytes of the budget are left of %d", left, small.Budget)
	}
	if left := client.budget.Load(); left != small.Budget {
		t.Errorf("%d bytes of the budget are left of %d", left, small.Budget)
	}
}

// A stream that nobody reads holds up no other, and no more is sent on it than
// its window.
func TestStalledStreamHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stalled *Stream
		client, _ := newPair(t, small, small, func(s *Stream, header []byte) {
			if string(header) == "stall" {
				stalled = s
				s.Reply(nil)
				return
			}
			echo(s, header)
		})
		stuck, _, err := client.Open(context.Background(), []byte("stall"))
		if err != nil {
			t.Fatal(err)
		}
		go stuck.Write(make([]byte, 1<<20))
		synctest.Wait()
		if n := stalled.in.len(); n != small.Window || len(stalled.in.buf) != small.Window {
			t.Errorf("holds %d bytes in %d of memory, with a window of %d", n, len(stalled.in.buf), small.Window)
		}
		stream, _, err := client.Open(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			stream.Write(make([]byte, 200_000))
			stream.CloseWrite()
		}()
		if got, err := io.ReadAll(stream); len(got) != 200_000 || err != nil {
			t.Errorf("%d bytes: %v", len(got), err)
		}
		client.link.Fail(io.ErrClosedPipe)
		synctest.Wait()
	})
}

func TestHalfClose(t *testing.T) {
	got := make(chan string, 1)
	client, _ := newPair(t, small, small, func(s *Stream, _ []byte) {
		s.Reply(nil)
		asked, _ := io.ReadAll(s)
		got <- string(asked)
		s.Write([]byte("answer"))
		s.Close()
	})
	stream, _, err := client.Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stream.Write([]byte("question"))
	stream.CloseWrite()
	if asked := <-got; asked != "question" {
		t.Errorf("asked %q", asked)
	}
	if answer, err := io.ReadAll(stream); string(answer) != "answer" || err != nil {
		t.Errorf("answered %q, %v", answer, err)
	}
	if _, err := stream.Write([]byte("more")); !errors.Is(err, ErrStreamClosed) {
		t.Errorf("writing after CloseWrite: %v", err)
	}
}

func TestResetReachesBlockedReaderAndWriter(t *testing.T) {
	accepted := make(chan *Stream, 1)
	client, _ := newPair(t, small, small, func(s *Stream, _ []byte) {
		s.Reply(nil)
		accepted <- s
	})
	stream, _, err := client.Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 2)
	go func() {
		_, err := stream.Read(make([]byte, 1))
		failed <- err
	}()
	go func() {
		_, err := stream.Write(make([]byte, 1<<20))
		failed <- err
	}()
	(<-accepted).Reset(77)
	for range 2 {
		reset, ok := errors.AsType[*ResetError](<-failed)
		if !ok || reset.Code != 77 || !reset.Remote {
			t.Errorf("got %v", reset)
		}
	}
}

// Close lets the other end read what was sent, and stops its writing.
func TestCloseStopsTheOtherEnd(t *testing.T) {
	client, _ := newPair(t, small, small, func(s *Stream, _ []byte) {
		s.Reply(nil)
		s.Write([]byte("all"))
		s.Close()
	})
	stream, _, err := client.Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Write(make([]byte, 1000))
	}
	if !errors.Is(err, ErrStopped) {
		t.Errorf("writing: %v", err)
	}
	if got, err := io.ReadAll(stream); string(got) != "all" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	stream.Close()
	if client.Streams() != 0 {
		t.Error("the stream is left")
	}
}

func TestTooManyStreams(t *testing.T) {
	few := small
	few.MaxStreams = 2
	client, _ := newPair(t, small, few, func(s *Stream, _ []byte) { s.Reply(nil) })
	var open []*Stream
	for range 2 {
		stream, _, err := client.Open(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, stream)
	}
	_, _, err := client.Open(context.Background(), nil)
	if reset, ok := errors.AsType[*ResetError](err); !ok || reset.Code != CodeTooMany {
		t.Errorf("got %v", err)
	}
	open[0].Reset(CodeReset)
	if _, _, err := client.Open(context.Background(), nil); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestOpenCancelled(t *testing.T) {
	accepted := make(chan *Stream, 1)
	client, _ := newPair(t, small, small, func(s *Stream, _ []byte) { accepted <- s })
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		cancel(errors.New("changed my mind"))
	}()
	if _, _, err := client.Open(ctx, nil); err == nil || err.Error() != "changed my mind" {
		t.Errorf("got %v", err)
	}
	<-(<-accepted).Dead()
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := newPair(t, small, small, func(s *Stream, _ []byte) { s.Reply(nil) })
		stream, _, _ := client.Open(context.Background(), nil)
		began := time.Now()
		stream.SetDeadline(began.Add(3 * time.Second))
		_, err := stream.Read(make([]byte, 1))
		if timeout, ok := err.(interface{ Timeout() bool }); !ok || !timeout.Timeout() || time.Since(began) != 3*time.Second {
			t.Errorf("reading: %v after %v", err, time.Since(began))
		}
		_, err = stream.Write(make([]byte, 1<<20))
		if timeout, ok := err.(interface{ Timeout() bool }); !ok || !timeout.Timeout() {
			t.Errorf("writing: %v", err)
		}
		client.link.Fail(io.ErrClosedPipe)
		synctest.Wait()
	})
}

// A peer that breaks the rules ends the session, and costs no memory.
func TestBrokenRules(t *testing.T) {
	frame := func(kind byte, id uint32, payload ...byte) []byte {
		h := header{kind, len(payload), id}.encode()
		return append(h[:], payload...)
	}
	open := frame(frameOpen, 1, 0, 0, 0, 9)
	for name, bytes := range map[string][]byte{
		"beyond the window":      append(open, frame(frameData, 1, make([]byte, 9000)...)...),
		"data after the end":     append(append(open, frame(frameFin, 1)...), frame(frameData, 1, 1)...),
		"the other's number":     frame(frameOpen, 2, 0, 0, 0, 9),
		"a number twice":         append(open, open...),
		"a reply to the accept":  append(open, frame(frameReply, 1, 0, 0, 0, 9)...),
		"an unknown frame":       {9, 0, 0, 0, 0, 0, 0, 1},
		"a window of two bytes":  frame(frameWindow, 1, 0, 1),
		"a header beyond limits": {frameOpen, 0, 0xff, 0xff, 0, 0, 0, 1},
		"stream zero":            frame(frameFin, 0),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newPipe(), newPipe()
			config := small
			config.Accept = func(s *Stream, _ []byte) {}
			session := New(memory{b, a}, config)
			session.Start()
			memory{a, b}.Push(bytes)
			<-session.Done()
			if err := session.Err(); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}
