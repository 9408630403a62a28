package config

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// Alone makes a Config of a file's text and nothing else: flags and variables
// do not overrule it, its templates are filled in as they would be here. The
// key that they may speak of is always the same. Problems are what is wrong
// with what it says, and what does not go together in it, but not what this machine
// lacks; the error is why it says nothing at all.
func Alone(name string, text []byte) (*Config, Problems, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, nil, fmt.Errorf("finding the working directory: %w", err)
	}
	l := &loading{flags: pflag.NewFlagSet("", pflag.ContinueOnError), dir: dir, environ: os.LookupEnv, layers: map[string]layer{}}
	read, says := l.readText(name, text, "key")
	if read.unread {
		return nil, nil, read.problems.orNil()
	}
	c, err := l.merge(name, map[string]any{}, says)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, nil, err
	}
	errors.As(append(problems, l.check(c)...).orNil(), &problems)
	return c, problems, nil
}
