package progress

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"understudy.dev/understudy/cli/failure"
)

// screen is a writer that can be read while it is written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// eventually waits for what another goroutine writes.
func eventually(t *testing.T, s *screen, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(s.String(), want) {
		if time.Now().After(deadline) {
			t.Fatalf("never printed %q; there is:\n%s", want, s)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPlain(t *testing.T) {
	out := &screen{}
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

func TestLive(t *testing.T) {
	out := &screen{}
	clk := clocktesting.NewFakeClock(time.Unix(0, 0))
	p := New(out, Options{Clock: clk, Live: true, Verbose: true, Width: func() int { return 40 }})

	s := p.Step("holding deployment/worker")
	s.Wait("pod worker-7d9c-x2x is still running")
	clk.Step(100 * time.Millisecond)
	eventually(t, out, "   0.1 s  holding")
	p.Detail("a detail")
	s.Done("held")
	p.Step("next")
	last := p.Step("after it")
	last.Done("")

	const wipe = "\r\x1b[K"
	want := wipe + "   0.0 s  holding deployment/worker" +
		wipe + "   0.0 s  holding deployment/worker: p…" +
		wipe + "   0.1 s  holding deployment/worker: p…" +
		wipe + "\r   0.1 s  a detail\r\n" +
		wipe + "   0.1 s  holding deployment/worker: p…" +
		wipe + "\r   0.1 s  held (0.1 s)\r\n" +
		wipe + "   0.1 s  next" + wipe +
		wipe + "   0.1 s  after it" + wipe
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}
