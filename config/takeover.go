package config

import (
	"slices"
	"strings"

	"understudy.dev/understudy/config/decision"
)

// takeover is what all the ways come to by which somebody may have said it. Of
// two that do not go together the one that was said in the higher place wins.
func (l *loading) takeover(f *form) {
	type choice struct {
		takeover Takeover
		key      string
	}
	var chosen []choice
	highest := nowhere
	choose := func(takeover Takeover, key string) {
		switch at := l.layers[key]; {
		case at < highest:
			return
		case at > highest:
			highest, chosen = at, nil
		}
		chosen = append(chosen, choice{takeover, key})
	}
	if l.layers["takeover"] > nowhere && !l.undone(f) {
		choose(f.Takeover, "takeover")
	}
	if f.CopyTo {
		choose(map[bool]Takeover{true: TakeoverScaleDown, false: TakeoverCopy}[f.ScaleDown], keyCopy)
	}
	if f.Pause {
		choose(TakeoverFreeze, "pause")
	}
	if len(chosen) == 0 {
		f.Takeover, l.takenBy = TakeoverNone, l.declined(f)
		if f.ScaleDown {
			l.problems = append(l.problems, l.locate(problem("add "+l.spell(keyCopy, keyScaleDown),
				"%s needs a stand-in that runs instead of the target", l.spell(keyScaleDown, "")).about(keyScaleDown)))
		}
		return
	}
	first, agree := chosen[0], true
	f.Takeover, f.Paused, l.takenBy = first.takeover, first.key == "pause", first.key
	for _, other := range chosen[1:] {
		withCopy := first.takeover == TakeoverCopy || first.takeover == TakeoverScaleDown
		if first.key == "takeover" && (other.key == "pause" && first.takeover == TakeoverFreeze || other.key != "pause" && withCopy) {
			continue // the same, said twice
		}
		agree = false
		l.problems = append(l.problems, l.locate(problem("choose one of both", "%s and %s exclude each other", l.spell(other.key, ""), l.spell(first.key, "")).about(other.key, first.key)))
	}
	if f.Paused && highest == inFile { // a flag says it in no other way
		f.notice(`pause is deprecated: say "takeover": "freeze" where the target has one pod, or "takeover": "scale-down", which holds any number of pods`)
	}
	if agree {
		l.scaleDown(f, highest)
	}
}

// scaleDown hears whether the target is to be held at zero where the takeover was
// said in another way, in that layer: what is said above it counts, and what
// contradicts it is not passed over.
func (l *loading) scaleDown(f *form, takeoverAt layer) {
	const key = keyScaleDown
	copies := f.Takeover == TakeoverCopy || f.Takeover == TakeoverScaleDown
	switch at := l.layers[key]; {
	case at == nowhere, at < takeoverAt: // or it is overruled
	case f.ScaleDown == (f.Takeover == TakeoverScaleDown):
		if copies && (l.takenBy == keyCopy || at > takeoverAt) {
			l.takenBy = key // it says the more of both
		}
	case copies && at > takeoverAt:
		f.Takeover, l.takenBy = map[bool]Takeover{true: TakeoverScaleDown, false: TakeoverCopy}[f.ScaleDown], key
	default:
		l.problems = append(l.problems, l.locate(problem("choose one of both", "%s and %s exclude each other", l.spell(key, ""), l.spell(l.takenBy, "")).about(key, l.takenBy)))
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
