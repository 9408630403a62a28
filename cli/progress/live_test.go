package progress

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

// terminal is what a person sees: as much of a terminal as is needed to obey
// what live writes. A line that is longer than the terminal is broken, as are
// those that are there when it becomes narrower.
type terminal struct {
	columns int
	lines   [][]rune // of which a line that was broken is several
	row     int
	column  int
	obeyed  string // colours
}

// show writes to it what was written so far; at each of the offsets it gets
// another width first.
func (s *terminal) show(t *testing.T, text string) {
	t.Helper()
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexAny(rest, "AJm")
			if end < 0 {
				t.Fatalf("nobody obeys %q", text[:min(len(text), 10)])
			}
			switch rest[end] {
			case 'A':
				n, err := strconv.Atoi(rest[:end])
				if err != nil {
					t.Fatal(err)
				}
				if s.row -= n; s.row < 0 {
					t.Fatal("it draws above what there is")
				}
			case 'J':
				s.lines = s.lines[:s.row+1]
				s.lines[s.row] = s.lines[s.row][:s.column]
			case 'm':
				s.obeyed += rest[:end+1]
			}
			text = rest[end+1:]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		for len(s.lines) <= s.row {
			s.lines = append(s.lines, nil)
		}
		switch {
		case r == '\r':
			s.column = 0
		case r == '\n':
			s.row++
			if len(s.lines) <= s.row {
				s.lines = append(s.lines, nil)
			}
		default:
			if s.column == s.columns {
				s.row, s.column = s.row+1, 0
				if len(s.lines) <= s.row {
					s.lines = append(s.lines, nil)
				}
			}
			s.lines[s.row] = append(s.lines[s.row][:s.column], append([]rune{r}, s.lines[s.row][min(len(s.lines[s.row]), s.column+1):]...)...)
			s.column++
		}
	}
}

// resize breaks the lines anew, as terminals do that reflow; the cursor is in
// the last one.
func (s *terminal) resize(columns int) {
	var broken [][]rune
	for i, line := range s.lines {
		for len(line) > columns {
			broken = append(broken, line[:columns])
			line = line[columns:]
		}
		broken = append(broken, line)
		if i == s.row {
			s.row, s.column = len(broken)-1, len(line)
		}
	}
	s.lines, s.columns = broken, columns
}

func (s *terminal) String() string {
	var out strings.Builder
	for _, line := range s.lines {
		out.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func (s *terminal) sees(t *testing.T, when, want string) {
	t.Helper()
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// still is a clock whose tickers stand still: nothing is drawn but what is told.
type still struct{ *clocktesting.FakeClock }

func (still) NewTicker(time.Duration) clock.Ticker { return nothing{} }

type nothing struct{}

func (nothing) C() <-chan time.Time { return nil }

func (nothing) Stop() {}

// stroke gives what was written since it was asked last.
func stroke(out *screen) func() string {
	seen := 0
	return func() string {
		text := out.String()
		defer func() { seen = len(text) }()
		return text[seen:]
	}
}

// TestTree: what is done stays, with the waits that lasted; what goes on is
// drawn below, and says what it waits for now and did before.
func TestTree(t *testing.T) {
	out := newScreen()
	clk := clocktesting.NewFakeClock(time.Unix(0, 0))
	p := New(out, Options{Clock: clk, Form: config.ProgressTTY, Verbose: true, Size: func() (int, int) { return 60, 24 }})
	screen, new := &terminal{columns: 60}, stroke(out)

	s := p.Step("looking up deployment/worker")
	clk.Step(300 * time.Millisecond)
	s.Done("deployment/worker, container app")
	s = p.Step("starting the stand-in")
	s.Wait("not scheduled yet") // passes at once
	s.Wait("0/2 nodes are available: 2 Insufficient memory, and so on")
	clk.Step(8 * time.Second)
	s.Wait(`pulling image "worker:2"`)
	clk.Step(1500 * time.Millisecond)
	p.Notice("connection lost\nand found")
	screen.show(t, new())
	screen.sees(t, "while it waits", `   0.3 s  ✓ deployment/worker, container app (0.3 s)
   9.8 s  connection lost
          and found
   9.8 s  ⠴ starting the stand-in (9.5 s)
            ├ 0/2 nodes are available: 2 Insufficient memo…
            └ pulling image "worker:2" (1.5 s)
`)

	// The clock goes on by itself.
	clk.Step(100 * time.Millisecond)
	eventually(t, out, "starting the stand-in (9.6 s)")
	s.Wait("")
	s.Wait("starting")
	clk.Step(200 * time.Millisecond)
	s.Done("the stand-in runs")
	p.Step("getting ready").Done("")
	p.Error(failure.New("ask for it\nagain", "no such thing"))
	screen.show(t, new())
	screen.sees(t, "at the end", `   0.3 s  ✓ deployment/worker, container app (0.3 s)
   9.8 s  connection lost
          and found
  10.1 s  ✓ the stand-in runs (9.8 s)
            ├ 0/2 nodes are available: 2 Insufficient memory
, and so on (8.0 s)
            └ pulling image "worker:2" (1.6 s)
error: no such thing
hint:  ask for it
       again
`)
	if screen.obeyed != "" {
		t.Errorf("without colours it obeys %q", screen.obeyed)
	}
}

// TestTreeNarrows: a terminal that becomes narrower breaks the lines that are
// there, and nothing of them is left behind, nor anything above them lost.
func TestTreeNarrows(t *testing.T) {
	out := newScreen()
	clk := still{clocktesting.NewFakeClock(time.Unix(0, 0))}
	var columns, rows atomic.Int32
	columns.Store(60)
	rows.Store(24)
	p := New(out, Options{Clock: clk, Form: config.ProgressTTY, Size: func() (int, int) { return int(columns.Load()), int(rows.Load()) }})
	screen, new := &terminal{columns: 60}, stroke(out)
	p.Notice("it begins")
	s := p.Step("holding deployment/worker")
	for i := range 7 {
		s.Wait(fmt.Sprintf("pod worker-%d is still running, and has 30 s of grace left", i))
		clk.Step(2 * time.Second)
	}
	p.Notice("it goes on")
	screen.show(t, new())
	screen.sees(t, "at first", `   0.0 s  it begins
  14.0 s  it goes on
  14.0 s  ⠋ holding deployment/worker (14.0 s)
            ├ … 2 before
            ├ pod worker-2 is still running, and has 30 s …
            ├ pod worker-3 is still running, and has 30 s …
            ├ pod worker-4 is still running, and has 30 s …
            ├ pod worker-5 is still running, and has 30 s …
            └ pod worker-6 is still running, and has 30 s …
`)
	columns.Store(24)
	screen.resize(24)
	rows.Store(5)
	p.Notice("it is small")
	screen.show(t, new())
	screen.sees(t, "when it is small", `   0.0 s  it begins
  14.0 s  it goes on
  14.0 s  it is small
  14.0 s  ⠋ holding de…
            ├ pod work…
            ├ pod work…
            └ pod work…
`)
	columns.Store(200)
	screen.resize(200)
	rows.Store(1)
	s.Wait("the last one")
	screen.show(t, new())
	screen.sees(t, "with one row", `   0.0 s  it begins
  14.0 s  it goes on
  14.0 s  it is small
  14.0 s  ⠋ holding deployment/worker (14.0 s)
`)
}

// TestTreeColours: marks are coloured where that is wanted, and drawn by what
// every terminal has where it knows no more.
func TestTreeColours(t *testing.T) {
	out := newScreen()
	clk := still{clocktesting.NewFakeClock(time.Unix(0, 0))}
	p := New(out, Options{Clock: clk, Form: config.ProgressTTY, Colour: true, ASCII: true, Size: func() (int, int) { return 40, 24 }})
	screen := &terminal{columns: 40}
	s := p.Step("starting")
	s.Wait("an image that has quite a name and is of great size")
	clk.Step(2 * time.Second)
	s.Wait("the kubelet")
	screen.show(t, out.String())
	screen.sees(t, "while it waits", `   2.0 s  - starting (2.0 s)
            |- an image that has qui...
            `+"`"+`- the kubelet (0.0 s)
`)
	s.Done("started")
	p.Error(failure.New("", "no"))
	for _, want := range []string{"\x1b[32m+\x1b[0m started", "\x1b[1;31merror:\x1b[0m no", "\x1b[33m-\x1b[0m starting"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in %q", want, out)
		}
	}
}

// TestCut: by columns, of which some characters take two and some none.
func TestCut(t *testing.T) {
	for text, want := range map[string]string{
		"short": "short", "exactly 10": "exactly 10", "just over 10": "just over…",
		"日本語日本": "日本語日本", "日本語日本語": "日本語日…", "e\u0301e\u0301": "e\u0301e\u0301",
	} {
		if got := cut(text, 10, "…"); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
}
