package progress

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

// screen is a writer that can be read while it is written.
type screen struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	written chan struct{} // closed by the next Write
}

func newScreen() *screen { return &screen{written: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.written)
	s.written = make(chan struct{})
	return s.buf.Write(p)
}

// look is what there is, and a channel that is closed when there is more.
func (s *screen) look() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String(), s.written
}

func (s *screen) String() string {
	text, _ := s.look()
	return text
}

// eventually waits for what another goroutine writes.
func eventually(t *testing.T, s *screen, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		text, more := s.look()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("never printed %q; there is:\n%s", want, text)
		}
	}
}

// TestOthersWords: what comes from other people's machines cannot redraw the
// screen or speak to the terminal.
func TestOthersWords(t *testing.T) {
	out := newScreen()
	p := New(out, Options{Clock: clocktesting.NewFakeClock(time.Unix(0, 0)), Form: config.ProgressTTY})
	p.Notice("held by \x1b]0;owned\x07ada\x9b2J\r\nand\tthe rest")
	s := p.Step("starting")
	s.Wait("a\x1b[2Jb")
	s.Done("done\x00")
	p.Error(failure.New("hint\x1b[1m", "what\u202e\x7f"))
	for _, line := range strings.Split(out.String(), "\r\n") {
		if text := strings.NewReplacer("\r\x1b[J", "", "\x1b[1A", "", "\r", "").Replace(line); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("it reaches the terminal: %q", text)
		}
	}
	for _, want := range []string{"held by \ufffd]0;owned\ufffdada\ufffd2J", "and the rest"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in %q", want, out)
		}
	}
}

func TestPlain(t *testing.T) {
	out := newScreen()
	clk := clocktesting.NewFakeClock(time.Unix(0, 0))
	p := New(out, Options{Clock: clk})

	s := p.Step("looking up deployment/worker")
	clk.Step(300 * time.Millisecond)
	s.Done("deployment/worker, container app")

	s = p.Step("starting the stand-in")
	s.Wait("not scheduled yet") // passes at once
	s.Wait("0/2 nodes are available")
	s.Wait("0/2 nodes are available")
	clk.Step(time.Second)
	eventually(t, out, "0/2 nodes")
	clk.Step(9 * time.Second)
	clk.Step(time.Second)
	eventually(t, out, "(11.0 s so far)")
	s.Wait(`pulling image "worker:2"`)
	clk.Step(51700 * time.Millisecond)
	eventually(t, out, `worker:2" (1m03s so far)`)
	s.Done("stand-in running")
	s.Done("said twice")
	p.Detail("not verbose")
	p.Notice("connection lost")
	p.Error(failure.New("ask for it\nagain", "no such thing"))
	p.Error(errors.New("plain"))

	want := `   0.3 s  deployment/worker, container app (0.3 s)
   1.3 s  starting the stand-in: 0/2 nodes are available
  11.3 s  starting the stand-in: 0/2 nodes are available (11.0 s so far)
   1m03s  starting the stand-in: pulling image "worker:2" (1m03s so far)
   1m03s  stand-in running (1m03s)
   1m03s  connection lost
error: no such thing
hint:  ask for it
       again
error: plain
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

// TestQuiet: errors alone, and what to do about them.
func TestQuiet(t *testing.T) {
	out := newScreen()
	p := New(out, Options{Clock: clocktesting.NewFakeClock(time.Unix(0, 0)), Form: config.ProgressQuiet, Verbose: true})
	s := p.Step("starting")
	s.Wait("an image")
	s.Done("started")
	p.Notice("a notice")
	p.Detail("a detail")
	p.Ready("ready")
	p.Session("shop", "worker-x")
	p.Error(failure.New("ask for it", "no such thing"))
	if got, want := out.String(), "error: no such thing\nhint:  ask for it\n"; got != want {
		t.Errorf("printed %q, not %q", got, want)
	}
}
