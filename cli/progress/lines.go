package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"understudy.dev/understudy/cli/failure"
)

// lineVersion is the version of the lines' form; it changes when a field gets
// another meaning or goes, not when one is added.
const lineVersion = 1

// line is one line of JSON. docs/progress.md describes each field.
type line struct {
	Understudy int     `json:"understudy"`
	Time       string  `json:"time"`
	Elapsed    float64 `json:"elapsed"`
	Event      string  `json:"event"`
	Step       string  `json:"step,omitempty"`
	Reason     string  `json:"reason,omitempty"`
	Result     string  `json:"result,omitempty"`
	Took       float64 `json:"took,omitempty"`
	Namespace  string  `json:"namespace,omitempty"`
	Session    string  `json:"session,omitempty"`
	Message    string  `json:"message,omitempty"`
	Hint       string  `json:"hint,omitempty"`
	Code       int     `json:"code,omitempty"`
}

// lines is JSON, an object a line, for programs.
type lines struct {
	p *Printer
	w io.Writer
}

func (*lines) every() time.Duration { return 0 }

func (*lines) tick(*Step) {}

func (f *lines) begin(s *Step) { f.put(line{Event: "step", Step: s.name}) }

func (f *lines) wait(s *Step) {
	f.put(line{Event: "wait", Step: s.name, Reason: s.reason, Took: rounded(s.took())})
}

func (f *lines) end(s *Step, result string) {
	kind := "done"
	if result == "" {
		kind = "left"
	}
	f.put(line{Event: kind, Step: s.name, Result: result, Took: rounded(s.took())})
}

func (f *lines) say(kind event, text string) { f.put(line{Event: string(kind), Message: text}) }

func (f *lines) fail(err error) {
	f.put(line{Event: "error", Message: err.Error(), Hint: failure.Hint(err), Code: failure.Code(err)})
}

func (f *lines) put(l line) {
	l.Understudy, l.Elapsed = lineVersion, rounded(f.p.Elapsed())
	l.Time = f.p.opts.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(l) != nil {
		return // it is made of texts and numbers
	}
	_, _ = io.WriteString(f.w, unprintable(out.String()))
}

// rounded is a duration in seconds, to the millisecond.
func rounded(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// unprintable spells out, as JSON does, what a terminal would obey: somebody may
// look at these lines after all. Such characters are in strings only.
func unprintable(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
