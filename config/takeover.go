package config

import (
	"slices"
	"strings"

	"understudy.dev/understudy/config/decision"
)

// choice is one way in which somebody said the takeover.
type choice struct {
	takeover Takeover
	key      string
}

// copies says whether a stand-in is made.
func (c choice) copies() bool {
	return c.takeover == TakeoverCopy || c.takeover == TakeoverScaleDown
}

// agrees says whether two say the same, or one the more of both.
func (c choice) agrees(other choice) bool {
	return c.copies() && other.copies() || c.takeover == other.takeover
}

// takeover is what all the ways come to by which somebody may have said it. Of
// two that do not go together the one that was said in the higher place wins, and
// the other is told that it does not count.
func (l *loading) takeover(f *form) {
	if !f.CopyTo && f.ScaleDown && l.overruled(f, keyScaleDown, keyCopy, noStandIn) {
		f.ScaleDown, l.layers[keyScaleDown] = false, nowhere
	}
	chosen, lower := l.chosen(f)
	if len(chosen) == 0 {
		f.Takeover, l.takenBy = TakeoverNone, l.declined(f)
		if f.ScaleDown {
			l.needsStandIn()
		}
		return
	}
	first, word := chosen[0], f.Takeover
	highest, down := l.layers[first.key], l.layers[keyScaleDown]
	f.Takeover, f.Paused, l.takenBy = first.takeover, first.key == "pause", first.key
	agree := true
	for _, other := range chosen[1:] {
		if !first.agrees(other) || first.key != "takeover" {
			agree = false
			l.exclude(other.key, first.key)
		}
	}
	switch {
	case !agree:
		return
	case first.copies() || !f.ScaleDown:
	case down == highest:
		l.exclude(keyScaleDown, first.key)
		return
	case down > highest && down == l.layers[keyCopy]:
		l.needsStandIn()
		return
	case down > highest:
		lower = append(lower, chosen...)
		first, highest = choice{TakeoverScaleDown, keyScaleDown}, down
		f.Takeover, f.Paused, l.takenBy = first.takeover, false, first.key
	case !f.CopyTo: // else it is told of the copy
		lower = append(lower, choice{TakeoverScaleDown, keyScaleDown})
	}
	outright := false // a word on stand-ins says whether the target is held, too
	for _, other := range slices.Concat(chosen, lower) {
		outright = outright || other.key == "takeover" && other.copies()
	}
	if first.copies() {
		l.scaleDown(f, word, outright, highest)
	}
	for _, other := range lower {
		if other.key == keyCopy && f.ScaleDown {
			other.key = keyScaleDown // it says the more of both
		}
		if !first.agrees(other) {
			l.overruled(f, other.key, l.takenBy, becomes[f.Takeover])
		}
	}
	if f.Paused && highest == inFile { // a flag says it in no other way
		f.notice(`pause is deprecated: say "takeover": "freeze" where the target has one pod, or "takeover": "scale-down", which holds any number of pods`)
	}
}

const noStandIn = "no stand-in is made"

// becomes is what a takeover does, for who asked for another one.
var becomes = map[Takeover]string{
	TakeoverCopy:      "a stand-in is made, and the target goes on running",
	TakeoverScaleDown: "a stand-in is made, and the target is held at zero",
	TakeoverFreeze:    "the target is frozen",
	TakeoverNone:      "the target is left as it is",
}

// chosen are the choices of the highest layer that has one, and those below it.
func (l *loading) chosen(f *form) (chosen, lower []choice) {
	var all []choice
	if l.layers["takeover"] > nowhere && !l.undone(f) {
		all = append(all, choice{f.Takeover, "takeover"})
	}
	if f.CopyTo {
		all = append(all, choice{map[bool]Takeover{true: TakeoverScaleDown, false: TakeoverCopy}[f.ScaleDown], keyCopy})
	}
	if f.Pause {
		all = append(all, choice{TakeoverFreeze, "pause"})
	}
	highest := nowhere
	for _, one := range all {
		highest = max(highest, l.layers[one.key])
	}
	for _, one := range all {
		if l.layers[one.key] == highest {
			chosen = append(chosen, one)
		} else {
			lower = append(lower, one)
		}
	}
	return chosen, lower
}

// needsStandIn tells that the target is to be held at zero, and nothing is asked for
// that would run instead.
func (l *loading) needsStandIn() {
	l.problems = append(l.problems, l.locate(problem("add "+l.spell(keyCopy, keyScaleDown),
		"%s needs a stand-in that runs instead of the target", l.spell(keyScaleDown, "")).about(keyScaleDown)))
}

func (l *loading) exclude(key, other string) {
	l.problems = append(l.problems, l.locate(problem("choose one of both", "%s and %s exclude each other", l.spell(key, ""), l.spell(other, "")).about(key, other)))
}

// scaleDown hears whether the target is to be held at zero, which the word of
// takeover says outright and a switch of its own too: of the two the higher counts.
// To ask for a stand-in above them changes nothing of it.
func (l *loading) scaleDown(f *form, word Takeover, outright bool, highest layer) {
	const key = keyScaleDown
	down, at, wordAt := f.ScaleDown, l.layers[key], l.layers["takeover"]
	l.heldBy = key
	if outright && (at < wordAt || at == nowhere) {
		down, l.heldBy = word == TakeoverScaleDown, "takeover"
	}
	f.Takeover = map[bool]Takeover{true: TakeoverScaleDown, false: TakeoverCopy}[down]
	switch differ := outright && at > nowhere && f.ScaleDown != (word == TakeoverScaleDown); {
	case differ && at == wordAt:
		f.Takeover = word
		l.exclude(key, "takeover")
	case differ && at > wordAt:
		l.overruled(f, "takeover", key, becomes[f.Takeover])
	case differ:
		l.overruled(f, key, "takeover", becomes[f.Takeover])
	}
	if l.heldBy == key && at >= highest && (l.takenBy == keyCopy || at > highest) {
		l.takenBy = key // it says the more of both
	}
}

// spell is how a key is said where it was said, or where another key was.
func (l *loading) spell(key, as string) string {
	at := l.layers[key]
	if as != "" {
		at = l.layers[as]
	}
	if as == "" && at == inEnvironment {
		return l.named(key)
	}
	if at == inFlags || at == nowhere {
		for _, row := range decision.Flags {
			if slices.Contains(row.To, key) {
				return "--" + row.Name
			}
		}
	}
	return strings.TrimSuffix(key, ".enabled")
}
