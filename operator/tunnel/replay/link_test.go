package replay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// cutConn breaks after a number of bytes read or written, in the middle of
// whatever was being said: both ends see it break, at different bytes.
type cutConn struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (c *cutConn) take(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.left)
	c.left -= n
	return n
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if k := c.take(n); k < n {
		c.Close()
		return k, errCut
	}
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	k := c.take(len(p))
	n, err := c.Conn.Write(p[:k])
	if err == nil && k < len(p) {
		c.Close()
		return n, errCut
	}
	return n, err
}

var errCut = errors.New("cut")

// pair is two links and what joins them.
type pair struct {
	client, server *Link
	down           chan error
}

func newPair(config Config) *pair {
	p := &pair{down: make(chan error, 64)}
	dialling := config
	dialling.Down = func(err error) { p.down <- err }
	p.client = New(ID{1}, dialling)
	p.server = New(ID{1}, config)
	return p
}

func (p *pair) join(op Op, wrap func(net.Conn) net.Conn) error {
	a, b := net.Pipe()
	if wrap != nil {
		a = wrap(a)
	}
	served := make(chan error, 1)
	go func() {
		hello, err := ReadHello(b)
		if err == nil {
			err = p.server.Accept(b, hello)
		} else {
			b.Close()
		}
		served <- err
	}()
	err := p.client.Dial(a, op)
	return errors.Join(err, <-served)
}

func (p *pair) fail() {
	p.client.Fail(ErrClosed)
	p.server.Fail(ErrClosed)
}

// Both directions at once, over connections that break all the time: every
// byte arrives once and in order.
func TestByteExactUnderCuts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	p := newPair(Config{})
	defer p.fail()
	const size = 3 << 20
	content := func(s uint64) []byte {
		b := make([]byte, size)
		r := rand.NewChaCha8([32]byte{byte(s)})
		r.Read(b)
		return b
	}
	var group sync.WaitGroup
	run := func(from, to *Link, data []byte, chop *rand.Rand) {
		group.Go(func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+chop.IntN(40_000))
				if err := from.Write(rest[:n/2], rest[n/2:n]); err != nil {
					t.Errorf("writing: %v", err)
					return
				}
				rest = rest[n:]
			}
		})
		group.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(to, got); err != nil {
				t.Errorf("reading: %v", err)
			}
			if !bytes.Equal(got, data) {
				t.Error("what arrived is not what was sent")
			}
			// Keep reading, as the owner of a link must: acknowledgements come here.
			to.Read(make([]byte, 1))
		})
	}
	run(p.client, p.server, content(1), rand.New(rand.NewPCG(seed, 2)))
	run(p.server, p.client, content(2), rand.New(rand.NewPCG(seed, 3)))
	finished := make(chan struct{})
	go func() { group.Wait(); close(finished) }()
	cuts := 0
	for op := OpNew; ; op = OpResume {
		// The first handshake must not be cut in half: a new link begins once.
		left := 200 + random.IntN(1<<random.IntN(21))
		err := p.join(op, func(c net.Conn) net.Conn { return &cutConn{Conn: c, left: left} })
		if err != nil {
			continue
		}
		done := func() bool {
			p.client.mu.Lock()
			defer p.client.mu.Unlock()
			return p.client.received == size && p.client.backlog.end == size && p.client.backlog.len() == 0
		}
		for up := true; up; {
			select {
			case <-p.down:
				cuts++
				up = p.client.Up()
			case <-time.After(10 * time.Millisecond):
				if done() {
					p.fail()
					<-finished
					t.Logf("%d cuts", cuts)
					if cuts < 5 {
						t.Errorf("only %d cuts", cuts)
					}
					return
				}
			case <-finished:
				t.Fatal("ended before everything was acknowledged")
			}
		}
	}
}

// A connection that swallows everything without an error is given up.
func TestSilentDeathIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(Config{PingEvery: time.Second, DeadAfter: 5 * time.Second})
		p.server.config.DeadAfter = time.Hour // so that it is the client who notices
		a, b := net.Pipe()
		gate, far := &gatedConn{Conn: a}, &gatedConn{Conn: b}
		go func() {
			hello, _ := ReadHello(b)
			p.server.Accept(far, hello)
		}()
		if err := p.client.Dial(gate, OpNew); err != nil {
			t.Fatal(err)
		}
		go p.client.Read(make([]byte, 1))
		go p.server.Read(make([]byte, 1))
		time.Sleep(30 * time.Second) // the bubble's time
		if !p.client.Up() {
			t.Fatal("a connection that answers was given up")
		}
		began := time.Now()
		gate.shut()
		far.shut()
		if err := <-p.down; !errors.Is(err, errSilent) {
			t.Errorf("given up for %v", err)
		}
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("noticed after %v", took)
		}
		p.fail()
		synctest.Wait()
	})
}

// An end that hears and is not heard knows how long that has been.
func TestUnansweredIsWhatTheOtherEndHasNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(Config{PingEvery: time.Second, DeadAfter: time.Hour})
		a, b := net.Pipe()
		gate := &gatedConn{Conn: a}
		go func() {
			hello, _ := ReadHello(b)
			p.server.Accept(b, hello)
		}()
		if err := p.client.Dial(gate, OpNew); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Link{p.client, p.server} {
			go func() {
				for {
					if _, err := l.Read(make([]byte, 64)); err != nil {
						return
					}
				}
			}()
		}
		for range 30 {
			// The other end talks so much that nobody needs to ask for a sign of life.
			p.server.Push([]byte("x"))
			time.Sleep(400 * time.Millisecond) // the bubble's time
		}
		if silent := p.client.Unanswered(); silent > 3*time.Second {
			t.Errorf("heard all the time, it takes itself for unheard since %v", silent)
		}
		gate.shut()
		for range 50 {
			p.server.Push([]byte("x"))
			time.Sleep(400 * time.Millisecond)
		}
		if heard := time.Since(p.client.LastHeard()); heard > time.Second {
			t.Fatalf("the other end was heard %v ago", heard)
		}
		if silent, counted := p.client.Unanswered(), p.server.Silent(); silent < counted || counted < 19*time.Second {
			t.Errorf("it takes itself for unheard since %v, and the other end has heard nothing for %v", silent, counted)
		}
		p.fail()
		synctest.Wait()
	})
}

// The answer to a question of before does not speak for the one of now.
func TestUnansweredGoesByTheLastQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(ID{1}, Config{})
		defer l.Fail(ErrClosed)
		time.Sleep(10 * time.Second) // the bubble's time
		l.pinged = time.Now()
		for answer, want := range map[time.Duration]time.Duration{5 * time.Second: 10 * time.Second, 10 * time.Second: 0} {
			l.answered.at(l.began, l.began)
			if err := l.control(frame{kind: framePong, value: uint64(answer)}); err != nil {
				t.Fatal(err)
			}
			if got := l.Unanswered(); got != want {
				t.Errorf("after the answer to what was asked after %v it is unanswered for %v, not %v", answer, got, want)
			}
		}
	})
}

// gatedConn stops passing what is written, without an error, once shut.
type gatedConn struct {
	net.Conn
	mu   sync.Mutex
	dark bool
}

func (c *gatedConn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dark = true
}

func (c *gatedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	dark := c.dark
	c.mu.Unlock()
	if dark {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// What is queued when a link is closed arrives before the end.
func TestCloseSendsWhatIsQueued(t *testing.T) {
	p := newPair(Config{})
	if err := p.join(OpNew, nil); err != nil {
		t.Fatal(err)
	}
	defer p.fail()
	go p.client.Read(make([]byte, 1))
	data := bytes.Repeat([]byte("last words "), 5000)
	if err := p.client.Write(data); err != nil {
		t.Fatal(err)
	}
	go p.client.Close(ReasonBye)
	got, err := io.ReadAll(p.server)
	closed, ok := errors.AsType[*ClosedError](err)
	if !ok || closed.Reason != ReasonBye {
		t.Errorf("ended with %v", err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived of %d", len(got), len(data))
	}
	<-p.client.Done()
}

// While nothing can be sent only so much is taken.
func TestWriteWaitsWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(ID{1}, Config{})
		var wrote int
		go func() {
			for l.Write(make([]byte, 1000)) == nil {
				wrote += 1000
			}
		}()
		synctest.Wait()
		if wrote < queueLimit || wrote > queueLimit+1000 {
			t.Errorf("took %d bytes", wrote)
		}
		l.Fail(ErrClosed)
		synctest.Wait()
	})
}

// Push never waits, and ends the link where it would take too much.
func TestPushIsBounded(t *testing.T) {
	l := New(ID{1}, Config{})
	total := 0
	for l.Push(make([]byte, 1000)) == nil {
		total += 1000
	}
	if total > backlogLimit+pushLimit+1000 {
		t.Errorf("took %d bytes", total)
	}
	if !errors.Is(l.Err(), errOverflow) {
		t.Errorf("ended with %v", l.Err())
	}
}

// Another end that claims impossible offsets ends the link.
func TestImpossibleOffset(t *testing.T) {
	l := New(ID{1}, Config{})
	a, b := net.Pipe()
	go io.Copy(io.Discard, b)
	if err := l.Accept(a, Hello{Op: OpResume, ID: ID{1}, Received: 7}); err == nil {
		t.Fatal("accepted an offset beyond what was sent")
	}
	if l.Err() == nil {
		t.Error("the link goes on")
	}
}

func TestVersionMismatchNamesBoth(t *testing.T) {
	a, b := net.Pipe()
	go func() {
		message := appendHello(nil, Hello{Op: OpNew})
		message[4] = 9
		a.Write(message)
	}()
	_, err := ReadHello(b)
	b.Close()
	if err == nil || err.Error() != "this end speaks version 1 of the tunnel, the other end version 9" {
		t.Errorf("got %v", err)
	}
	a, b = net.Pipe()
	go func() {
		io.ReadFull(a, make([]byte, helloSize))
		a.Write([]byte{'U', 'N', 'D', 'Y', 3, byte(StatusVersion), 0, 0, 0, 0, 0, 0, 0, 0})
	}()
	l := New(ID{}, Config{})
	defer l.Fail(ErrClosed)
	err = l.Dial(b, OpNew)
	version, ok := errors.AsType[*VersionError](err)
	if !ok || version.Ours != Version || version.Theirs != 3 {
		t.Errorf("got %v", err)
	}
}

// slowConn takes a while for each write.
type slowConn struct {
	net.Conn
	takes *atomic.Int64
}

func (c slowConn) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(c.takes.Load()))
	return c.Conn.Write(p)
}

// A path whose queues are full is no longer path, but another connection may be.
func TestRoundTripIsThePathsNotTheQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(Config{})
		defer func() {
			p.fail()
			time.Sleep(time.Second) // of the bubble's time, for a write that is still under way
		}()
		go io.Copy(io.Discard, p.client)
		go io.Copy(io.Discard, p.server)
		var takes atomic.Int64
		slow := func(c net.Conn) net.Conn { return slowConn{c, &takes} }
		for _, step := range []struct {
			takes, least time.Duration
			op           Op
		}{
			{takes: 10 * time.Millisecond, least: 10 * time.Millisecond, op: OpNew},
			{takes: 300 * time.Millisecond, least: 10 * time.Millisecond},
			{takes: 4 * time.Millisecond, least: 4 * time.Millisecond},
			{takes: 50 * time.Millisecond, least: 50 * time.Millisecond, op: OpResume},
		} {
			takes.Store(int64(step.takes))
			if step.op != 0 {
				if err := p.join(step.op, slow); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Second) // of pings
			for end, l := range map[string]*Link{"client": p.client, "server": p.server} {
				// A ping may always wait behind the other direction's own.
				if got := l.RoundTrip(); got < step.least || got > step.least*22/10 {
					t.Errorf("%s: a round trip of %s where writing takes %s, not %s", end, got, step.takes, step.least)
				}
			}
		}
	})
}
