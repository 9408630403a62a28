package command

import (
	"errors"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/environ"
	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
)

// asked is what a configuration asks for, without a command and what its process is
// kept in. The error is all that is wrong with it; the options are there all the
// same, as far as they could be read.
func asked(cmd *cobra.Command) (*ExecOptions, error) {
	opts := &ExecOptions{}
	ofTarget := func(c *config.Config) *config.Problem {
		if c.Targetless() || c.Target == "" { // then Check says that there is none
			return nil
		}
		ref, err := target.Parse(c.Target)
		opts.Target = ref
		return wrong("target.path", err)
	}
	ofEnviron := func(c *config.Config) *config.Problem {
		rules, err := environ.New(c.Env) // read once, as it may be a pipe
		opts.Environ = rules
		var known *failure.Failure
		if err != nil && !errors.As(err, &known) {
			return wrong("feature.env.mapping", err)
		}
		return wrong("feature.env.env_file", err)
	}
	c, err := config.Read(cmd.Flags(), ofTarget, ofEnviron)
	if c == nil {
		return nil, err
	}
	opts.Config = c
	return opts, err
}

// wrong is an error about the value of a key; nil where it is none.
func wrong(key string, err error) *config.Problem {
	if err == nil {
		return nil
	}
	return config.About(key, failure.Hint(err), err.Error())
}
