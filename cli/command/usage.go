package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config/decision"
)

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	// A word before it that is no command explains every flag after it.
	if words := cmd.Flags().Args(); !cmd.HasParent() && len(words) > 0 {
		return unknownCommand(cmd, words[0])
	}
	// A value's own complaint says which it is; the library's words are left out.
	if known := (*failure.Failure)(nil); errors.As(err, &known) {
		return known
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		if near := nearFlag(cmd.Flags(), unknown.GetSpecifiedName()); near != "" {
			hint = fmt.Sprintf("did you mean --%s? Or %s", near, hint)
		}
	case errors.As(err, &value) && value.GetFlag().Value.Type() == "duration":
		return failure.New("a time is written as 90s, 5m or 1h30m", "--%s: %q is not a time", value.GetFlag().Name, value.GetValue())
	}
	return &failure.Failure{Hint: hint, Err: err}
}

// nearFlag is the flag whose name is nearly the given one, or empty.
func nearFlag(flags *pflag.FlagSet, name string) string {
	best, least := "", 1+max(2, len(name)/3)
	flags.VisitAll(func(flag *pflag.Flag) {
		if d := decision.Distance(name, flag.Name); !flag.Hidden && d < least {
			best, least = flag.Name, d
		}
	})
	return best
}

// commandFirst fails where the user's command seems to have begun before it was
// meant to, so that flags of ours would be its own. The words are what is left
// of the line when the flags before the first of them are read.
func commandFirst(flags *pflag.FlagSet, words []string) error {
	dash := slices.Index(words, "--")
	if flags.ArgsLenAtDash() >= 0 || dash <= 0 {
		return nil // it came after --, or there is none
	}
	ours := func(word string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		return strings.HasPrefix(word, "--") && flags.Lookup(name) != nil
	}
	if dash > 1 && !slices.ContainsFunc(words[1:dash], ours) {
		return nil // a -- of the command's own
	}
	return failure.New("everything that is meant for understudy comes before --, each value right after its flag, as in: -t deployment/worker",
		"%q before -- belongs to no flag", words[0])
}
