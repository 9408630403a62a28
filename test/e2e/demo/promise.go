package main

import "fmt"

// promises collects what did not come out as promised.
type promises struct {
	screen *screen
	broken int
}

// keep checks one number.
func (p *promises) keep(what string, got, want uint64) {
	p.hold(fmt.Sprintf("%s: %d", what, got), got == want, fmt.Sprintf("promised was %d", want))
}

// hold checks one thing.
func (p *promises) hold(what string, kept bool, otherwise string) {
	if kept {
		p.screen.line("  %s %s", p.screen.good("✓"), what)
		return
	}
	p.broken++
	p.screen.line("  %s %s (%s)", p.screen.bad("✗"), what, otherwise)
}
