package config

import "errors"

// check is Check by one who knows where each key was said.
func (l *loading) check(c *Config) (found Problems) {
	errors.As(c.Check(), &found)
	for _, p := range found {
		_ = l.locate(p)
	}
	return found
}

// locate puts a problem to where the keys that it is about were said. What
// nobody said, as a default, has no place.
func (l *loading) locate(p *Problem) *Problem {
	first, second := l.placeOf(p.keys[0]), l.placeOf(p.keys[1])
	if first == "" {
		first, second = second, ""
	}
	if p.Place = first; second != first {
		p.Also = second
	}
	return p
}

// placeOf is where the value of a key was said that counts.
func (l *loading) placeOf(key string) string {
	if key == "takeover" && l.takenBy != "" {
		key = l.takenBy // there are other ways to say it
	}
	if key == "" {
		return ""
	}
	switch got := l.viper.Get(key).(type) {
	case said:
		return got.place
	case string: // of a flag
		return "--" + l.flagOf(key)
	}
	return ""
}
