package progress

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// redrawEvery is how often the live part is drawn: ten times a second, as
	// elapsed times are shown in tenths.
	redrawEvery = 100 * time.Millisecond
	// fallbackColumns and fallbackRows are the size of a terminal that does not
	// tell it.
	fallbackColumns, fallbackRows = 80, 24
	// shownPauses is how many past waits of the present step are shown at most.
	shownPauses = 4
	// indent is where the second column begins, after the times.
	indent = 10
)

// live is a tree on a terminal. What is done stays and scrolls away as all
// lines do; below it the step that is under way is drawn again and again.
type live struct {
	p *Printer
	w io.Writer
	// drawn are the columns that each line of the live part takes.
	drawn []int
	// out is what is written next, in one piece so that nothing flickers.
	out bytes.Buffer
}

// marks are the characters of the tree.
type marks struct {
	done, branch, last, more string
	turning                  []string
}

var (
	unicodeMarks = marks{"✓", "├ ", "└ ", "…", strings.Split("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "")}
	asciiMarks   = marks{"+", "|- ", "`- ", "...", strings.Split(`-\|/`, "")}
)

func (f *live) marks() *marks {
	if f.p.opts.ASCII {
		return &asciiMarks
	}
	return &unicodeMarks
}

// colour is what a terminal is told to begin with.
type colour string

const (
	faint  colour = "\x1b[2m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	red    colour = "\x1b[1;31m"
)

func (f *live) paint(c colour, text string) string {
	if !f.p.opts.Colour {
		return text
	}
	return string(c) + text + "\x1b[0m"
}

func (*live) every() time.Duration { return redrawEvery }

func (f *live) tick(*Step) { f.show(nil) }

func (f *live) begin(*Step) { f.show(nil) }

func (f *live) wait(*Step) { f.show(nil) }

func (f *live) say(_ event, text string) {
	f.show(func() { stamped(f.p.Elapsed(), text, func(line string) { f.stay(Harmless(line)) }) })
}

func (f *live) fail(err error) {
	f.show(func() {
		complain(err, func(line string) {
			line = Harmless(line)
			if rest, ok := strings.CutPrefix(line, "error:"); ok {
				line = f.paint(red, "error:") + rest
			}
			f.stay(line)
		})
	})
}

// end leaves the step as it was in the end, with the waits that have lasted.
func (f *live) end(s *Step, result string) {
	f.show(func() {
		if result == "" {
			return
		}
		stamped(f.p.Elapsed(), result+" ("+seconds(s.took())+")", func(line string) {
			if strings.TrimSpace(line[:indent]) == "" {
				f.stay(strings.Repeat(" ", indent+2) + Harmless(line[indent:]))
				return
			}
			f.stay(f.paint(faint, line[:indent]) + f.paint(green, f.marks().done) + " " + Harmless(line[indent:]))
		})
		for i, past := range s.past {
			branch := f.marks().branch
			if i == len(s.past)-1 {
				branch = f.marks().last
			}
			f.stay(f.paint(faint, strings.Repeat(" ", indent+2)+branch+flat(past.reason)+" ("+seconds(past.lasted)+")"))
		}
	})
}

// stay writes a line above the live part. A terminal may be in raw mode while
// the user's command runs, so the line brings its own carriage returns.
func (f *live) stay(line string) { fmt.Fprintf(&f.out, "\r%s\r\n", line) }

// show wipes the live part, writes what is to stay, and draws the live part
// below it.
func (f *live) show(stay func()) {
	width, height := f.size()
	f.wipe(width)
	if stay != nil {
		stay()
	}
	f.draw(width, height)
	_, _ = f.w.Write(f.out.Bytes())
	f.out.Reset()
}

func (f *live) size() (width, height int) {
	if f.p.opts.Size != nil {
		width, height = f.p.opts.Size()
	}
	if width <= 0 {
		width = fallbackColumns
	}
	if height <= 0 {
		height = fallbackRows
	}
	return width, height
}

// wipe takes the live part away. On a terminal that has become narrower since
// it was drawn, its lines have been broken.
func (f *live) wipe(width int) {
	if len(f.drawn) == 0 {
		return
	}
	rows := 0
	for _, columns := range f.drawn {
		rows += max(1, (columns+width-1)/width)
	}
	if rows > 1 {
		fmt.Fprintf(&f.out, "\x1b[%dA", rows-1)
	}
	f.out.WriteString("\r\x1b[J")
	f.drawn = f.drawn[:0]
}

// draw draws the step that is under way, if there is one, and leaves the cursor
// in its last line.
func (f *live) draw(width, height int) {
	s := f.p.current
	if s == nil {
		return
	}
	m := f.marks()
	turn := m.turning[int(s.took()/redrawEvery)%len(m.turning)]
	f.put(width, part{faint, fmt.Sprintf("%8s  ", seconds(f.p.Elapsed()))}, part{yellow, turn}, part{"", " " + flat(s.name) + " (" + seconds(s.took()) + ")"})
	var waits []string
	for _, past := range s.past {
		waits = append(waits, flat(past.reason)+" ("+seconds(past.lasted)+")")
	}
	most := min(shownPauses, max(height-3, 0))
	if earlier := len(waits) - most; earlier > 0 {
		waits = append([]string{fmt.Sprintf("%s %d before", m.more, earlier)}, waits[earlier:]...)
	}
	if s.reason != "" {
		waits = append(waits, flat(s.reason)+" ("+seconds(f.p.opts.Clock.Since(s.since))+")")
	}
	if len(waits) > height-2 { // a terminal of hardly any lines
		waits = waits[len(waits)-max(height-2, 0):]
	}
	for i, wait := range waits {
		branch, of := m.branch, faint
		if i == len(waits)-1 {
			branch = m.last
			if s.reason != "" {
				of = ""
			}
		}
		f.put(width, part{of, strings.Repeat(" ", indent+2) + branch + wait})
	}
}

// part is a part of a line, in one colour.
type part struct {
	colour colour
	text   string
}

// put draws one line of the live part, which never reaches the terminal's last
// column, where it would be broken.
func (f *live) put(width int, parts ...part) {
	if len(f.drawn) > 0 {
		f.out.WriteString("\r\n")
	}
	left := width - 1
	for _, p := range parts {
		text := cut(p.text, max(left, 1), f.marks().more)
		if left < 1 {
			break
		}
		left -= columns(text)
		if p.colour != "" {
			text = f.paint(p.colour, text)
		}
		f.out.WriteString(text)
	}
	f.drawn = append(f.drawn, width-1-left)
}

// flat is a text in one line that a terminal does not obey.
func flat(text string) string { return Harmless(strings.ReplaceAll(text, "\n", " ")) }
