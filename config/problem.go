package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is something wrong with what was asked for, and what to do instead.
type Problem struct {
	// What is wrong, in one sentence without a full stop.
	What string
	// Advice says what to do; may be empty.
	Advice string
	// Place is where it was said: "FILE:LINE", a variable or a flag; empty
	// where it was not said, but follows.
	Place string
	// Also is where the other was said, of two that do not go together; empty
	// where that is the same place.
	Also string

	// keys are what Check speaks of, for whoever knows where they were said.
	keys [2]string
	// entry of the first one's list or object that is wrong, where it is one.
	entry string
}

func (p *Problem) Error() string {
	what := p.What
	if p.Also != "" {
		what += " (the other: " + p.Also + ")"
	}
	if p.Place == "" {
		return what
	}
	return p.Place + ": " + what
}

// Hint is the advice.
func (p *Problem) Hint() string { return p.Advice }

func problem(advice, what string, args ...any) *Problem {
	return &Problem{What: fmt.Sprintf(what, args...), Advice: advice}
}

// About says whether it is about a key, alone or with another.
func (p *Problem) About(key string) bool { return slices.Contains(p.keys[:], key) }

// about names the key that is wrong, or the two that do not go together.
func (p *Problem) about(key string, other ...string) *Problem {
	copy(p.keys[:], append([]string{key}, other...))
	return p
}

// About is something wrong with the value of a key, for who finds it out elsewhere.
func About(key, advice, what string) *Problem { return problem(advice, "%s", what).about(key) }

// speakOf says whether one of them is about a key.
func (p Problems) speakOf(key string) bool {
	return slices.ContainsFunc(p, func(one *Problem) bool { return slices.Contains(one.keys[:], key) })
}

// entryOf names an entry of a key's list, or a key of its object.
func (p *Problem) entryOf(key, entry string) *Problem {
	p.entry = entry
	return p.about(key)
}

// Problems are all that is wrong. Several read as a list, each with its advice.
type Problems []*Problem

func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].Error()
	}
	lines := []string{fmt.Sprintf("%d things are wrong with what was asked for", len(p))}
	for _, one := range p {
		line := "- " + one.Error()
		if one.Advice != "" {
			line += "\n  (" + strings.ReplaceAll(one.Advice, "\n", "\n   ") + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Hint is the advice where there is one problem; of several each has its own.
func (p Problems) Hint() string {
	if len(p) == 1 {
		return p[0].Advice
	}
	return ""
}

// orNil is an error only where something is wrong. Of two problems with the
// same words one is kept. What was typed or set comes first, then what a file
// says, from its top to its bottom.
func (p Problems) orNil() error {
	var out Problems
	for _, one := range p {
		if !slices.ContainsFunc(out, func(o *Problem) bool { return *o == *one }) {
			out = append(out, one)
		}
	}
	if len(out) == 0 {
		return nil
	}
	slices.SortStableFunc(out, func(a, b *Problem) int { return cmp.Compare(a.line(), b.line()) })
	return out
}

// line is the line of the file in which it was said; 0 for another place.
func (p *Problem) line() int {
	line, err := strconv.Atoi(p.Place[strings.LastIndex(p.Place, ":")+1:])
	if err != nil {
		return 0
	}
	return line
}
