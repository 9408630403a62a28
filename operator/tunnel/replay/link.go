package replay

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// backlogLimit of bytes sent and not yet acknowledged: what may be under
	// way on a long path, and what a link may cost in memory.
	backlogLimit = 4 << 20
	// queueLimit of bytes written and not yet sent. Small, so that on a slow
	// path a small stream does not wait behind what a large one has queued.
	queueLimit = 128 << 10
	// pushLimit is how far Push may go beyond backlogLimit.
	pushLimit = 1 << 20
	// ackEvery so many bytes an acknowledgement is sent at once.
	ackEvery = 64 << 10
	// batchSize of one write to the raw connection.
	batchSize = 4 * (maxData + 3)
	// goodbye is how long Close waits for what is queued to go out and for
	// the other end to hang up.
	goodbye = time.Second
)

// Reason is why an end closes the link for good.
type Reason byte

const (
	// ReasonBye: the sender is done.
	ReasonBye Reason = 1
	// ReasonSuperseded: the owner has begun another link.
	ReasonSuperseded Reason = 2
	// ReasonShutdown: the sender's process is being stopped.
	ReasonShutdown Reason = 3
)

// ClosedError says that the other end closed the link.
type ClosedError struct{ Reason Reason }

func (e *ClosedError) Error() string {
	switch e.Reason {
	case ReasonSuperseded:
		return ErrSuperseded.Error()
	case ReasonShutdown:
		return "the other end is being stopped"
	}
	return "the other end has closed the tunnel"
}

// Is makes a superseded link's end errors.Is ErrSuperseded.
func (e *ClosedError) Is(target error) bool {
	return target == ErrSuperseded && e.Reason == ReasonSuperseded
}

// ErrClosed: this end closed the link.
var ErrClosed = errors.New("link closed")

var (
	errSilent   = errors.New("nothing heard from the other end")
	errReplaced = errors.New("replaced by a newer connection")
	errOverflow = errors.New("the other end does not take what it must")
)

// Config of one end of a link.
type Config struct {
	// PingEvery of silence the other end is asked for a sign of life. Default 1 s.
	PingEvery time.Duration
	// DeadAfter of silence the raw connection is given up. Default 5 s.
	DeadAfter time.Duration
	// Down is called, from a goroutine of the link, when the raw connection
	// has been given up, with the reason. Default: nothing.
	Down func(error)
}

// Link is one end. Read is for one goroutine, which must keep reading: control
// frames are handled by it. All else may be called from anywhere.
type Link struct {
	id     ID
	config Config

	// attaching is held while a raw connection replaces another.
	attaching sync.Mutex

	mu    sync.Mutex
	space sync.Cond // room in the queue
	work  sync.Cond // something to send
	state sync.Cond // raw, reading or err has changed

	raw     net.Conn
	in      *bufio.Reader
	reading bool // Read is inside in
	left    int  // of the DATA frame that is being read

	backlog  backlog
	sent     uint64 // offset of the next byte to send
	everSent uint64 // the most that sent ever was
	received uint64
	acked    uint64 // of received, told the other end

	wantAck, wantPing bool
	pongs             []uint64
	closing           Reason
	saidBye           bool
	err               error
	done              chan struct{}

	heard     stamp
	answered  stamp // when that was sent which the other end has answered last
	roundTrip atomic.Int64
	pinged    time.Time
	began     time.Time
}

// New makes an end of the link id, with no raw connection yet.
func New(id ID, config Config) *Link {
	if config.PingEvery <= 0 {
		config.PingEvery = time.Second
	}
	if config.DeadAfter <= 0 {
		config.DeadAfter = 5 * time.Second
	}
	l := &Link{id: id, config: config, done: make(chan struct{}), began: time.Now()}
	l.space.L, l.work.L, l.state.L = &l.mu, &l.mu, &l.mu
	l.heard.now(l.began)
	l.answered.now(l.began)
	go l.send()
	go l.watch()
	return l
}

// ID of the link.
func (l *Link) ID() ID { return l.id }

// Done is closed when the link has ended for good.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why it ended.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// LastHeard is when the last byte arrived, or when the link was made, by the
// clock on the wall: the time that a machine has slept counts.
func (l *Link) LastHeard() time.Time { return time.Unix(0, l.heard.wall.Load()) }

// Silent is how long ago that was by the monotonic clock, which nobody sets.
func (l *Link) Silent() time.Duration {
	return time.Since(l.began) - time.Duration(l.heard.since.Load())
}

// Unanswered is how long ago that was sent which the other end has answered last:
// it has heard of this end since. Of two clocks it is the one that says more: the
// wall's counts the time that a machine has slept, the monotonic one is set by nobody.
func (l *Link) Unanswered() time.Duration {
	now := time.Now()
	return max(now.Sub(time.Unix(0, l.answered.wall.Load())), now.Sub(l.began)-time.Duration(l.answered.since.Load()))
}

// stamp is one moment by both clocks.
type stamp struct{ wall, since atomic.Int64 }

func (s *stamp) now(began time.Time) { s.at(time.Now(), began) }

func (s *stamp) at(moment, began time.Time) {
	s.wall.Store(moment.UnixNano())
	s.since.Store(int64(moment.Sub(began)))
}

// RoundTrip is the shortest that was measured over the present raw connection,
// 0 before the first. A longer one has stood behind our own bytes in some
// queue: windows that grew by it would make that queue longer still.
func (l *Link) RoundTrip() time.Duration { return time.Duration(l.roundTrip.Load()) }

// took notes a round trip; called with mu held, or before anybody else may.
func (l *Link) took(d time.Duration) {
	if least := l.roundTrip.Load(); d > 0 && (least == 0 || int64(d) < least) {
		l.roundTrip.Store(int64(d))
	}
}

// Up says whether there is a raw connection.
func (l *Link) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw != nil
}

// Dial shakes hands over raw as the dialling end: op is OpNew the first time
// and OpResume from then on. On success the link owns raw; on error raw is
// closed, and the link goes on without it.
func (l *Link) Dial(raw net.Conn, op Op) error {
	return l.attach(raw, func(received uint64) (uint64, error) {
		asked := time.Now()
		if _, err := raw.Write(appendHello(nil, Hello{Op: op, ID: l.id, Received: received})); err != nil {
			return 0, err
		}
		theirs, err := readReply(raw)
		if err == nil {
			l.roundTrip.Store(0) // of another connection
			l.took(time.Since(asked))
			l.answered.at(asked, l.began)
		}
		return theirs, err
	})
}

// Accept answers a hello for this link that was read from raw. Ownership as
// with Dial.
func (l *Link) Accept(raw net.Conn, hello Hello) error {
	return l.attach(raw, func(received uint64) (uint64, error) {
		l.roundTrip.Store(0) // of another connection
		_, err := raw.Write(appendReply(nil, StatusOK, received))
		return hello.Received, err
	})
}

// attach makes raw the link's connection. Whatever is read after handshake was
// told the offset would be counted twice, so the reader must be out of the old
// connection by then.
func (l *Link) attach(raw net.Conn, handshake func(received uint64) (uint64, error)) error {
	l.attaching.Lock()
	defer l.attaching.Unlock()
	l.mu.Lock()
	l.dropLocked(errReplaced)
	for l.reading {
		l.state.Wait()
	}
	received, err := l.received, l.err
	l.mu.Unlock()
	if err != nil {
		raw.Close()
		return err
	}
	theirs, err := handshake(received)
	if err != nil {
		raw.Close()
		return fmt.Errorf("shaking hands over a new connection: %w", err)
	}
	// The caller's deadline was for the handshake.
	raw.SetDeadline(time.Time{})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		raw.Close()
		return l.err
	case theirs < l.backlog.start || theirs > l.everSent:
		raw.Close()
		l.failLocked(fmt.Errorf("the other end has received %d bytes, of %d to %d", theirs, l.backlog.start, l.everSent))
		return l.err
	}
	l.backlog.release(theirs)
	l.raw, l.in, l.left = raw, bufio.NewReaderSize(heardReader{raw, l}, maxData+3), 0
	l.sent, l.acked = theirs, received
	l.wantAck, l.wantPing, l.pongs = false, true, nil
	l.heard.now(l.began)
	l.state.Broadcast()
	l.work.Broadcast()
	l.space.Broadcast()
	return nil
}

// heardReader notes when something was read.
type heardReader struct {
	raw  net.Conn
	link *Link
}

func (r heardReader) Read(p []byte) (int, error) {
	n, err := r.raw.Read(p)
	if n > 0 {
		r.link.heard.now(r.link.began)
	}
	return n, err
}

// Drop gives the raw connection up, as if it had broken.
func (l *Link) Drop(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(reason)
}

func (l *Link) dropLocked(reason error) {
	if l.raw == nil {
		return
	}
	// In a goroutine of its own: to close a TLS connection can take seconds
	// while its alert is stuck behind a write.
	go l.raw.Close()
	l.raw = nil
	l.state.Broadcast()
	if l.closing != 0 {
		l.failLocked(ErrClosed)
		return
	}
	if l.config.Down != nil && !errors.Is(reason, errReplaced) {
		go l.config.Down(reason)
	}
}

// Fail ends the link for good without telling the other end.
func (l *Link) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(err)
}

func (l *Link) failLocked(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	if l.raw != nil {
		go l.raw.Close()
		l.raw = nil
	}
	l.backlog = backlog{}
	close(l.done)
	l.state.Broadcast()
	l.work.Broadcast()
	l.space.Broadcast()
}

// Close sends what is queued, tells the other end that the link is over and
// why, and ends it; with no raw connection it just ends.
func (l *Link) Close(reason Reason) {
	l.mu.Lock()
	if l.raw == nil {
		l.failLocked(ErrClosed)
	} else if l.closing == 0 {
		l.closing = reason
		l.work.Broadcast()
		l.space.Broadcast()
	}
	l.mu.Unlock()
	timer := time.NewTimer(goodbye)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
		l.Fail(ErrClosed)
	}
}

// watch asks for signs of life and gives up a connection that shows none.
func (l *Link) watch() {
	ticker := time.NewTicker(l.config.PingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		if l.raw != nil {
			silent := l.Silent()
			switch {
			case silent >= l.config.DeadAfter:
				l.dropLocked(fmt.Errorf("%w for %v", errSilent, silent.Round(time.Millisecond)))
			case silent >= l.config.PingEvery/2 || time.Since(l.pinged) >= 2*l.config.PingEvery:
				// Also where there is much to hear: it does not say what was heard there.
				l.wantPing = true
			}
			l.wantAck = l.wantAck || l.received != l.acked
			l.work.Signal()
		}
		l.mu.Unlock()
	}
}
