package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// row is one figure beside its floor.
type row struct {
	what, against   string
	measured, floor sample
	in              unit
	goal            goal
}

// goal is what the measured may be, given its floor.
type goal interface {
	// limit is the value to be reached.
	limit(floor float64) float64
	// more says that the measured is to be above it, not below.
	more() bool
	// String is the goal in the table's words.
	String() string
}

// above is a goal of at most so many seconds more than the floor.
type above float64

func (g above) limit(floor float64) float64 { return floor + float64(g) }
func (g above) more() bool                  { return false }
func (g above) String() string              { return fmt.Sprintf("≤ floor + %.0f ms", float64(g)*1e3) }

// within is a goal of at most so many seconds, whatever the floor.
type within float64

func (g within) limit(float64) float64 { return float64(g) }
func (g within) more() bool            { return false }
func (g within) String() string        { return fmt.Sprintf("≤ %.0f ms", float64(g)*1e3) }

// timesAtMost and timesAtLeast are goals in parts of the floor.
type (
	timesAtMost  float64
	timesAtLeast float64
)

func (g timesAtMost) limit(floor float64) float64  { return floor * float64(g) }
func (g timesAtMost) more() bool                   { return false }
func (g timesAtMost) String() string               { return fmt.Sprintf("≤ %.2f × floor", float64(g)) }
func (g timesAtLeast) limit(floor float64) float64 { return floor * float64(g) }
func (g timesAtLeast) more() bool                  { return true }
func (g timesAtLeast) String() string              { return fmt.Sprintf("≥ %.2f × floor", float64(g)) }

// ratio is the measured in parts of the floor.
func (r row) ratio() string {
	if len(r.floor) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", r.measured.median()/r.floor.median())
}

// verdict says whether the goal was reached, and by how much it was not.
func (r row) verdict() string {
	if r.goal == nil {
		return "no goal"
	}
	floor := 0.0
	if len(r.floor) > 0 {
		floor = r.floor.median()
	}
	limit, got := r.goal.limit(floor), r.measured.median()
	over := got - limit
	if r.goal.more() {
		over = -over
	}
	if over <= 0 {
		return "met, " + r.in.of(-over) + " to spare"
	}
	return fmt.Sprintf("MISSED by %s (%.0f %%)", r.in.of(over), 100*over/limit)
}

func (r row) cells() []string {
	floor, what := "–", "–"
	if len(r.floor) > 0 {
		floor = r.in.spread(r.floor)
	}
	if r.goal != nil {
		what = r.goal.String()
	}
	if r.against == "" {
		r.against = "–"
	}
	return []string{r.what, r.in.spread(r.measured), r.against, floor, r.ratio(), what, r.verdict()}
}

// write prints the rows as a table that is Markdown too, so that it can be kept.
func write(out io.Writer, rows []row) {
	table := [][]string{{"what", "measured", "floor: what", "floor: measured", "ratio", "goal", ""}, nil}
	for _, r := range rows {
		table = append(table, r.cells())
	}
	width := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for i := range width {
		table[1] = append(table[1], strings.Repeat("-", max(3, width[i])))
	}
	for _, cells := range table {
		for i, cell := range cells {
			fmt.Fprintf(out, "| %s%s ", cell, strings.Repeat(" ", max(3, width[i])-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(out, "|")
	}
}
