// Package progress tells a person, on stderr, what understudy does, how long
// each step took and what it waits for.
//
// On a terminal the step that is under way is one line that is redrawn; else
// there are plain lines, one per change that lasts and one every ten seconds of
// waiting.
// Nothing of it ever goes to stdout, which belongs to the user's command.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/utils/clock"
)

const (
	// redrawEvery is how often the live line is drawn: ten times a second, as
	// elapsed times are shown in tenths.
	redrawEvery = 100 * time.Millisecond
	// settleAfter is how long a reason must have lasted to be said where there
	// is no terminal: what passes by itself at once is not worth a line.
	settleAfter = time.Second
	// repeatEvery is how often a wait is said again there.
	repeatEvery = 10 * time.Second
	// repeatWidth is how much of a reason that was said already is repeated.
	repeatWidth = 120
	// fallbackWidth is the width of a terminal that does not tell it.
	fallbackWidth = 80
)

// Options are the optional parts of a Printer.
type Options struct {
	// Live says that the writer is a terminal whose line may be redrawn.
	Live bool
	// Width gives the terminal's columns; nil, or a result of 0, is 80.
	Width func() int
	// Verbose lets Detail lines through.
	Verbose bool
	// Clock is the source of time; the real one by default.
	Clock clock.WithTicker
}

// Printer writes the progress of one run. Its methods may be called from any
// goroutine.
type Printer struct {
	w     io.Writer
	opts  Options
	start time.Time

	mu      sync.Mutex
	current *Step
	drawn   bool // the live line is on the screen
}

// New makes a Printer; elapsed times count from here.
func New(w io.Writer, opts Options) *Printer {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &Printer{w: w, opts: opts, start: opts.Clock.Now()}
}

// Elapsed is the time since the Printer was made.
func (p *Printer) Elapsed() time.Duration { return p.opts.Clock.Since(p.start) }

// Step is one thing that takes time. It ends with Done, and the next Step ends
// it too.
type Step struct {
	p      *Printer
	name   string
	begun  time.Time
	reason string
	since  time.Time // when the reason came up
	said   time.Time // when it was printed last; zero if it was not
	ended  bool
	stop   chan struct{}
	gone   chan struct{}
}

// Step begins a step. The name says what is being done ("starting the
// stand-in").
func (p *Printer) Step(name string) *Step {
	p.mu.Lock()
	last := p.current
	p.mu.Unlock()
	if last != nil {
		last.end("")
	}
	now := p.opts.Clock.Now()
	s := &Step{p: p, name: name, begun: now, since: now, stop: make(chan struct{}), gone: make(chan struct{})}
	every := settleAfter
	if p.opts.Live {
		every = redrawEvery
	}
	ticker := p.opts.Clock.NewTicker(every)
	p.mu.Lock()
	p.current = s
	p.redraw()
	p.mu.Unlock()
	go s.tick(ticker)
	return s
}

// Wait says what the step waits for. Saying the same again changes nothing.
func (s *Step) Wait(reason string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.ended || s.reason == reason {
		return
	}
	s.reason, s.since, s.said = reason, s.p.opts.Clock.Now(), time.Time{}
	s.p.redraw()
}

// Done ends the step; result says what came of it. With an empty one nothing is
// printed, for where an error says it.
func (s *Step) Done(result string) { s.end(result) }

func (s *Step) end(result string) {
	s.p.mu.Lock()
	if s.ended {
		s.p.mu.Unlock()
		return
	}
	s.ended = true
	if s.p.current == s {
		s.p.current = nil
	}
	s.p.wipe()
	if result != "" {
		took := s.p.opts.Clock.Since(s.begun)
		s.p.line(fmt.Sprintf("%s (%s)", result, seconds(took)))
	}
	s.p.mu.Unlock()
	close(s.stop)
	<-s.gone
}

func (s *Step) tick(ticker clock.Ticker) {
	defer close(s.gone)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C():
		}
		s.p.mu.Lock()
		switch {
		case s.ended:
		case s.p.opts.Live:
			s.p.redraw()
		default:
			s.repeat(s.p.opts.Clock.Now())
		}
		s.p.mu.Unlock()
	}
}

// repeat says what is waited for, when it has lasted for a while and then
// every ten seconds.
func (s *Step) repeat(now time.Time) {
	switch {
	case s.said.IsZero() && now.Sub(s.since) < settleAfter:
		return
	case s.said.IsZero() && now.Sub(s.begun) < repeatEvery:
		s.p.line(s.text())
	case s.said.IsZero(), now.Sub(s.said) >= repeatEvery:
		text := s.text()
		if !s.said.IsZero() {
			text = cut(text, repeatWidth)
		}
		s.p.line(fmt.Sprintf("%s (%s so far)", text, seconds(now.Sub(s.begun))))
	default:
		return
	}
	s.said = now
}

func (s *Step) text() string {
	if s.reason == "" {
		return s.name
	}
	return s.name + ": " + s.reason
}

// Notice prints a line that matters, at any time: also while the user's
// command runs.
func (p *Printer) Notice(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.line(fmt.Sprintf(format, args...))
	p.redraw()
}

// Detail prints a line only when asked to be verbose.
func (p *Printer) Detail(format string, args ...any) {
	if p.opts.Verbose {
		p.Notice(format, args...)
	}
}

// line writes one line with the time since the start before it. A terminal may
// be in raw mode while the user's command runs, so there the line brings its
// own carriage returns.
func (p *Printer) line(text string) {
	for i, part := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		prefix := fmt.Sprintf("%8s  ", seconds(p.opts.Clock.Since(p.start)))
		if i > 0 {
			prefix = strings.Repeat(" ", len(prefix))
		}
		p.raw(prefix + part)
	}
}

func (p *Printer) raw(text string) {
	text = Harmless(text)
	if p.opts.Live {
		fmt.Fprintf(p.w, "\r%s\r\n", text)
		return
	}
	fmt.Fprintln(p.w, text)
}

func (p *Printer) redraw() {
	if !p.opts.Live || p.current == nil {
		return
	}
	width := 0
	if p.opts.Width != nil {
		width = p.opts.Width()
	}
	if width <= 0 {
		width = fallbackWidth
	}
	text := fmt.Sprintf("%8s  %s", seconds(p.opts.Clock.Since(p.start)), p.current.text())
	text = strings.ReplaceAll(text, "\n", " ")
	fmt.Fprintf(p.w, "\r\x1b[K%s", cut(Harmless(text), width-1))
	p.drawn = true
}

func (p *Printer) wipe() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// Harmless takes out what a terminal would obey: much of the text comes from
// other people, as the name of whoever holds a target, or from a registry.
func Harmless(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == '\r':
			return -1
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, text)
}

// cut shortens text to n columns, counting a rune as one.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n || n < 1 {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// seconds is a duration as people read it: "0.3 s", "12.0 s", "3m05s".
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
