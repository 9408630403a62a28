package config

import (
	"slices"

	"github.com/spf13/pflag"

	"understudy.dev/understudy/config/decision"
)

// Place is Load for commands that only want to know which cluster and namespace is
// meant. What is wrong with the rest of a file is none of their business, and comes
// aside; the error is about the place, or a file that cannot be read, which may have
// named it. The Config is there all the same, as far as it could be read.
func Place(flags *pflag.FlagSet) (c *Config, aside Problems, err error) {
	l, err := newLoading(flags)
	if err != nil {
		return &Config{}, nil, err
	}
	return l.place()
}

func (l *loading) place() (c *Config, aside Problems, err error) {
	l.layers = map[string]layer{}
	said := l.readEnvironment()
	name, read := l.readFile()
	keys := []string{"agent.namespace"} // agents of one's own are made there
	for i := range decision.Flags {
		if row := &decision.Flags[i]; slices.Contains(clusterFlags, row.Name) {
			keys = append(keys, row.To...)
		}
	}
	for _, says := range []map[string]any{said, read} {
		for key := range says {
			if !slices.Contains(keys, key) {
				delete(says, key)
				delete(l.layers, key)
			}
		}
	}
	if !l.unread {
		aside, l.problems = l.problems, nil
	}
	c, err = l.merge(name, said, read)
	if c == nil {
		c = &Config{}
	}
	c.Notices = nil
	return c, aside, err
}
