package progress

import (
	"fmt"
	"io"
	"time"
)

const (
	// repeatEvery is how often a wait is said again where there is no terminal.
	repeatEvery = 10 * time.Second
	// repeatWidth is how much of a reason that was said already is repeated.
	repeatWidth = 120
)

// plain is lines that stay: for logs, and for terminals that cannot be redrawn.
type plain struct {
	p *Printer
	w io.Writer
}

func (*plain) every() time.Duration { return settleAfter }

func (*plain) begin(*Step) {}

func (*plain) wait(*Step) {}

// tick says what is waited for, when it has lasted for a while and then every
// ten seconds.
func (f *plain) tick(s *Step) {
	now := f.p.opts.Clock.Now()
	text := s.name
	if s.reason != "" {
		text += ": " + s.reason
	}
	switch {
	case s.said.IsZero() && now.Sub(s.since) < settleAfter:
		return
	case s.said.IsZero() && now.Sub(s.begun) < repeatEvery:
		f.line(text)
	case s.said.IsZero(), now.Sub(s.said) >= repeatEvery:
		if !s.said.IsZero() {
			text = cut(text, repeatWidth, unicodeMarks.more)
		}
		f.line(fmt.Sprintf("%s (%s so far)", text, seconds(now.Sub(s.begun))))
	default:
		return
	}
	s.said = now
}

func (f *plain) end(s *Step, result string) {
	if result != "" {
		f.line(fmt.Sprintf("%s (%s)", result, seconds(s.took())))
	}
}

func (f *plain) say(_ event, text string) { f.line(text) }

func (f *plain) fail(err error) { complain(err, f.raw) }

// line writes one line with the time since the start before it.
func (f *plain) line(text string) { stamped(f.p.Elapsed(), text, f.raw) }

func (f *plain) raw(text string) { fmt.Fprintln(f.w, Harmless(text)) }

// quiet shows nothing but errors.
type quiet struct{ w io.Writer }

func (*quiet) every() time.Duration { return 0 }

func (*quiet) tick(*Step) {}

func (*quiet) begin(*Step) {}

func (*quiet) wait(*Step) {}

func (*quiet) end(*Step, string) {}

func (*quiet) say(event, string) {}

func (f *quiet) fail(err error) {
	complain(err, func(text string) { fmt.Fprintln(f.w, Harmless(text)) })
}
