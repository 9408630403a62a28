package config

import (
	"errors"
	"slices"
	"strings"

	"understudy.dev/understudy/config/source"
)

// check is Check by one who knows where each key was said.
func (l *loading) check(c *Config) (found Problems) {
	errors.As(c.Check(), &found)
	if l.misnamed && c.Target == "" { // what is wrong with it is said already
		found = slices.DeleteFunc(found, func(p *Problem) bool { return p.About("target.path") })
		c.Notices = slices.DeleteFunc(c.Notices, func(notice string) bool { return notice == inNoPlace })
	}
	for _, p := range found {
		_ = l.locate(p)
	}
	return found
}

// locate puts a problem to where the keys that it is about were said. What
// nobody said, as a default, has no place, and a flag that the problem's own
// words name needs none.
func (l *loading) locate(p *Problem) *Problem {
	l.reword(p)
	first, second := l.placeOf(p.keys[0], p.entry), l.placeOf(p.keys[1], "")
	for _, place := range []*string{&first, &second} {
		if *place != "" && !strings.Contains(*place, ":") && strings.Contains(p.What, *place) {
			*place = ""
		}
	}
	if first == "" {
		first, second = second, ""
	}
	if p.Place = first; second != first {
		p.Also = second
	}
	return p
}

// reword has a problem speak of its key as it was said: nobody has to look for a
// flag that was not typed.
func (l *loading) reword(p *Problem) {
	key := p.keys[0]
	if key == "" || l.layers[key] < inEnvironment {
		return
	}
	if rest, ok := strings.CutPrefix(p.What, key+" is"); ok {
		p.What = l.named(key) + " is" + rest
	}
	p.Advice = strings.Replace(p.Advice, "leave "+key+" out", "leave "+l.named(key)+" out", 1)
}

// placeOf is where the value of a key was said that counts, or that entry of it.
func (l *loading) placeOf(key, entry string) string {
	if key == "takeover" && l.takenBy != "" {
		key = l.takenBy // there are other ways to say it
	}
	return l.saidAt(key, entry)
}

// saidAt is placeOf a key of that very name.
func (l *loading) saidAt(key, entry string) string {
	if key == "" {
		return ""
	}
	switch got := l.viper.Get(key).(type) {
	case said:
		if line := lineOf(got.node, entry); line > 0 && got.at != nil {
			return got.at(line)
		}
		return got.place
	case string: // of a flag
		return "--" + l.flagOf(key)
	}
	return ""
}

// lineOf is the line of an entry of a list, or of a key of an object; 0 where it
// is none.
func lineOf(node *source.Node, entry string) int {
	switch of := node.Value.(type) {
	case []*source.Node:
		for _, item := range of {
			if item.Value == entry {
				return item.Line
			}
		}
	case []source.Member:
		for _, member := range of {
			if member.Key == entry {
				return member.Line
			}
		}
	}
	return 0
}
