package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// screen tells the story, in plain lines or, on a terminal, with a live last
// line and a little colour.
type screen struct {
	out   io.Writer
	live  bool
	begun time.Time
	drawn bool
}

func newScreen(f *os.File) *screen {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &screen{out: f, live: err == nil && os.Getenv("TERM") != "dumb", begun: time.Now()}
}

func (s *screen) style(code, text string) string {
	if !s.live || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(text string) string { return s.style("1", text) }
func (s *screen) dim(text string) string  { return s.style("2", text) }
func (s *screen) good(text string) string { return s.style("32", text) }
func (s *screen) bad(text string) string  { return s.style("31;1", text) }

// line prints one line for good.
func (s *screen) line(format string, args ...any) {
	s.wipe()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// act opens a part of the story.
func (s *screen) act(title, what string) {
	s.line("")
	s.line("%s", s.bold(title))
	for l := range strings.Lines(what) {
		s.line("  %s", s.dim(strings.TrimRight(l, "\n")))
	}
}

// step is one thing that took time.
func (s *screen) step(what string, took time.Duration) {
	s.line("  %s %s %7s", s.good("✓"), pad(what, 62), seconds(took))
}

// now shows what is going on, where a line can be drawn again.
func (s *screen) now(format string, args ...any) {
	if !s.live {
		return
	}
	s.wipe()
	fmt.Fprintf(s.out, "  … "+format, args...)
	s.drawn = true
}

func (s *screen) wipe() {
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
}

func pad(text string, width int) string {
	if n := len([]rune(text)); n < width {
		return text + strings.Repeat(" ", width-n)
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// bar draws n of all as a bar.
func bar(n, all uint64) string {
	const width = 24
	full := 0
	if all > 0 {
		full = int(min(n, all) * width / all)
	}
	return strings.Repeat("█", full) + strings.Repeat("·", width-full)
}
