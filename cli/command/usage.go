package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
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
		if said := foreign[unknown.GetSpecifiedName()]; said != "" && cmd.Flags().Lookup("target") != nil {
			hint = said
		} else if near := nearFlag(cmd.Flags(), unknown.GetSpecifiedName()); near != "" {
			hint = fmt.Sprintf("did you mean --%s? Or %s", near, hint)
		}
	case errors.As(err, &value) && value.GetFlag().Value.Type() == "duration":
		return failure.New("a time is written as 90s, 5m or 1h30m", "--%s: %q is not a time", value.GetFlag().Name, value.GetValue())
	}
	return &failure.Failure{Hint: hint, Err: err}
}

// foreign are flags that fingers know from elsewhere, where a session is described,
// and how that is said here.
var foreign = map[string]string{
	"container":  "a container is named in the target: -t deployment/NAME/container/CONTAINER",
	"pod":        "a pod is a target: -t pod/NAME",
	"deployment": "a deployment is a target: -t deployment/NAME",
	"dry-run":    "what would be done is said by: understudy plan, with the same flags",
}

// nearFlag is the flag whose name is nearly the given one, or has it for a word at
// its beginning or end; or empty.
func nearFlag(flags *pflag.FlagSet, name string) string {
	best, least := "", 1+max(2, len(name)/3)
	flags.VisitAll(func(flag *pflag.Flag) {
		if d := decision.Distance(name, flag.Name); !flag.Hidden && d < least {
			best, least = flag.Name, d
		}
	})
	flags.VisitAll(func(flag *pflag.Flag) {
		if best == "" && !flag.Hidden && (strings.HasPrefix(flag.Name, name+"-") || strings.HasSuffix(flag.Name, "-"+name)) {
			best = flag.Name
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
	hint := "everything that is meant for understudy comes before --, each value right after its flag, as in: -t deployment/worker"
	set := func(name, value string) bool {
		flag := flags.Lookup(name)
		return flag != nil && flag.Changed && flag.Value.String() == value
	}
	// As fingers know it from kubectl exec.
	if ref, err := target.Parse(words[0]); err == nil && !ref.None() {
		hint = "did you mean -t " + words[0] + "?"
		if set("agent-image", "t") {
			hint += " -i is something else here, and the terminal is the command's own anyway"
		}
	} else if set("accept-invalid-certificates", "true") {
		hint = "-c names no container here: it takes any certificate of the API server; a container is named in the target: -t deployment/NAME/container/" + words[0]
	}
	return failure.New(hint, "%q before -- belongs to no flag", words[0])
}
