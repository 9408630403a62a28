package config

import (
	"slices"

	"github.com/spf13/pflag"

	"understudy.dev/understudy/config/decision"
)

// Place is Load for commands that only want to know which cluster and namespace is
// meant. What is wrong with the rest of a file is none of their business, and comes
// aside; the error is about the place, or a file that cannot be read, which may have
// named it. The Config is there all the same, as far as it could be read; its File
// is one that has said something of it.
func Place(flags *pflag.FlagSet, found Found) (c *Config, aside Problems, err error) {
	l, err := newLoading(flags)
	if err != nil {
		return &Config{}, nil, err
	}
	return l.place(found)
}

// Found is how far a file is trusted that nobody has named: it lies where somebody
// works, and may be anybody's.
type Found int

const (
	// FoundAll: as exec does, which says which file it took.
	FoundAll Found = iota
	// FoundNames: the context and the namespace, but no kubeconfig, which may have a
	// program run, no certificates, and nothing that has to be computed. It is for who
	// has asked for nothing to be done, and is told nothing.
	FoundNames
	// FoundNot: not at all.
	FoundNot
)

func (l *loading) place(found Found) (c *Config, aside Problems, err error) {
	l.layers = map[string]layer{}
	said := l.readEnvironment()
	l.found = found
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
	if len(read) == 0 {
		c.File = ""
	}
	return c, aside, err
}
