// Package progress tells a person, on stderr, what understudy does, how long
// each step took and what it waits for.
//
// On a terminal it is a tree that lives: the steps that are done stay, the one
// that is under way is redrawn with what it waits for below it. Elsewhere there
// are plain lines, one per change that lasts and one every ten seconds of
// waiting; or JSON, a line for each event, for programs; or errors alone.
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

	"understudy.dev/understudy/config"
)

// settleAfter is how long a reason must have lasted to be said for good: what
// passes by itself at once is not worth a line.
const settleAfter = time.Second

// Options are the optional parts of a Printer.
type Options struct {
	// Form in which it is shown: tty, json and quiet as they are called; all
	// others are plain.
	Form config.Progress
	// Size gives the terminal's columns and rows; nil, or results of 0, are 80
	// and 24.
	Size func() (columns, rows int)
	// Colour lets a terminal's lines be coloured.
	Colour bool
	// ASCII keeps to characters that every terminal has.
	ASCII bool
	// Verbose lets Detail lines through.
	Verbose bool
	// Clock is the source of time; the real one by default.
	Clock clock.WithTicker
}

// Printer writes the progress of one run. Its methods may be called from any
// goroutine.
type Printer struct {
	opts  Options
	start time.Time

	mu      sync.Mutex
	current *Step
	form    form
}

// form is a way to show progress. Its methods are called one at a time.
type form interface {
	// every is how often tick is called while a step is under way; 0 is never.
	every() time.Duration
	tick(s *Step)
	// begin, wait and end tell of a step: that it has begun, what it waits for
	// now, and what came of it; an empty result is not shown.
	begin(s *Step)
	wait(s *Step)
	end(s *Step, result string)
	// say tells of something else.
	say(kind event, text string)
	fail(err error)
}

// event is a kind of what is told beside steps.
type event string

const (
	eventNotice event = "notice"
	eventDetail event = "detail"
	eventReady  event = "ready"
)

// New makes a Printer; elapsed times count from here.
func New(w io.Writer, opts Options) *Printer {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	p := &Printer{opts: opts, start: opts.Clock.Now()}
	switch opts.Form {
	case config.ProgressTTY:
		p.form = &live{p: p, w: w}
	case config.ProgressJSON:
		p.form = &lines{p: p, w: w}
	case config.ProgressQuiet:
		p.form = &quiet{w: w}
	case config.ProgressAuto, config.ProgressPlain:
		fallthrough
	default:
		p.form = &plain{p: p, w: w}
	}
	return p
}

// Elapsed is the time since the Printer was made.
func (p *Printer) Elapsed() time.Duration { return p.opts.Clock.Since(p.start) }

// Step is one thing that takes time. It ends with Done, and the next Step ends
// it too.
type Step struct {
	p     *Printer
	name  string
	begun time.Time
	// reason is what it waits for, since when, and when that was said last; zero
	// if it was not.
	reason string
	since  time.Time
	said   time.Time
	// past is what it waited for before, as far as that lasted.
	past  []pause
	ended bool
	stop  chan struct{}
	gone  chan struct{}
}

// pause is a wait that is over.
type pause struct {
	reason string
	lasted time.Duration
}

// Step begins a step. The name says what is being done ("starting the
// stand-in").
func (p *Printer) Step(name string) *Step {
	p.mu.Lock()
	last := p.current
	p.mu.Unlock()
	if last != nil {
		last.Done("")
	}
	now := p.opts.Clock.Now()
	s := &Step{p: p, name: name, begun: now, since: now, stop: make(chan struct{}), gone: make(chan struct{})}
	p.mu.Lock()
	p.current = s
	p.form.begin(s)
	every := p.form.every()
	p.mu.Unlock()
	if every == 0 {
		close(s.gone)
		return s
	}
	go s.tick(p.opts.Clock.NewTicker(every))
	return s
}

// Wait says what the step waits for; with an empty reason, that it goes on.
// Saying the same again changes nothing.
func (s *Step) Wait(reason string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.ended || s.reason == reason {
		return
	}
	s.settle()
	s.reason, s.since, s.said = reason, s.p.opts.Clock.Now(), time.Time{}
	s.p.form.wait(s)
}

// settle keeps the present wait if it has lasted, one after the other for the
// same reason as one.
func (s *Step) settle() {
	lasted := s.p.opts.Clock.Since(s.since)
	if s.reason == "" || lasted < settleAfter {
		return
	}
	if n := len(s.past); n > 0 && s.past[n-1].reason == s.reason {
		s.past[n-1].lasted += lasted
		return
	}
	s.past = append(s.past, pause{s.reason, lasted})
}

// Done ends the step; result says what came of it. With an empty one nothing is
// shown, for where an error says it.
func (s *Step) Done(result string) {
	s.p.mu.Lock()
	if s.ended {
		s.p.mu.Unlock()
		return
	}
	s.settle()
	s.ended = true
	if s.p.current == s {
		s.p.current = nil
	}
	s.p.form.end(s, result)
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
		if !s.ended {
			s.p.form.tick(s)
		}
		s.p.mu.Unlock()
	}
}

// took is how long the step has been going on.
func (s *Step) took() time.Duration { return s.p.opts.Clock.Since(s.begun) }

// Notice prints a line that matters, at any time: also while the user's
// command runs.
func (p *Printer) Notice(format string, args ...any) { p.say(eventNotice, format, args...) }

// Ready says that the user's command begins.
func (p *Printer) Ready(format string, args ...any) { p.say(eventReady, format, args...) }

// Session tells of the session that was made: programs at once, people when they
// asked for details.
func (p *Printer) Session(namespace, name string) {
	if f, ok := p.form.(*lines); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		f.put(line{Event: "session", Namespace: namespace, Session: name})
		return
	}
	p.Detail("session %s/%s made", namespace, name)
}

// Detail prints a line only when asked to be verbose.
func (p *Printer) Detail(format string, args ...any) {
	if p.opts.Verbose {
		p.say(eventDetail, format, args...)
	}
}

func (p *Printer) say(kind event, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.form.say(kind, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// Error prints err after "error:" and what to do about it after "hint:".
func (p *Printer) Error(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.form.fail(err)
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

// seconds is a duration as people read it: "0.3 s", "12.0 s", "3m05s".
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
