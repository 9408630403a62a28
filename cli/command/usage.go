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
	case errors.As(err, &unknown) && ofExec(cmd, unknown) != "":
		hint = ofExec(cmd, unknown)
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		if said := foreignLetters[unknown.GetSpecifiedName()]; said != "" {
			hint = said
		}
	case errors.As(err, &unknown):
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

// foreignLetters are those that mean something in other commands, or in kubectl.
var foreignLetters = map[string]string{
	"w": "what changes is shown by: understudy sessions -w",
	"o": "lines of JSON about the run are asked for with --progress json; ahead of it: understudy plan -o json",
}

// ofExec is the hint about a flag of exec where no command is named, or empty.
func ofExec(cmd *cobra.Command, unknown *pflag.NotExistError) string {
	run, _, err := cmd.Find([]string{"exec"})
	if err != nil || cmd.HasParent() {
		return ""
	}
	name, typed := unknown.GetSpecifiedName(), "--"+unknown.GetSpecifiedName()
	known := run.Flags().Lookup(name) != nil
	if unknown.GetSpecifiedShortnames() != "" {
		typed, known = "-"+name, run.Flags().ShorthandLookup(name) != nil
	}
	if !known {
		return ""
	}
	return typed + " is a flag of " + run.CommandPath() + ", and comes after that word"
}

// valueless fails where a flag without a value took the next flag for one.
func valueless(flags *pflag.FlagSet) error {
	var wrong error
	flags.Visit(func(flag *pflag.Flag) {
		value := flag.Value.String()
		name, _, _ := strings.Cut(strings.TrimLeft(value, "-"), "=")
		long := strings.HasPrefix(value, "--") && flags.Lookup(name) != nil
		short := len(value) == 2 && value[0] == '-' && len(name) == 1 && flags.ShorthandLookup(name) != nil
		if flag.Value.Type() == "string" && (long || short) {
			wrong = failure.New(fmt.Sprintf("give it one, or leave it out; where %s is meant: --%s=%s", value, flag.Name, value),
				"--%s has no value: the next word is %s, a flag itself", flag.Name, value)
		}
	})
	return wrong
}

// flagsAfter fails where flags that were meant for us stand after the command, which
// gets them: where no target is named, and one that says so is there. After -- all is
// the command's in any case.
func flagsAfter(cmd *cobra.Command, words []string) error {
	flags := cmd.Flags()
	if flags.ArgsLenAtDash() >= 0 || flags.Changed("target") {
		return nil
	}
	for i, word := range words {
		name, value, joined := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		meant := ""
		switch ours := strings.HasPrefix(word, "--") && flags.Lookup(name) != nil; {
		case ours && slices.Contains([]string{"copy-target", "scale-down"}, name):
			meant = word
		case word == "-t" || ours && name == "target":
			if !joined && i+1 < len(words) {
				value = words[i+1]
				word += " " + value
			}
			if ref, err := target.Parse(value); err == nil && !ref.None() {
				meant = word
			}
		}
		if meant != "" {
			return failure.New(fmt.Sprintf("what is meant for understudy comes before it: %s %s -- %s", cmd.CommandPath(), meant, strings.Join(words[:1], " ")),
				"%s comes after the command, and is its own there", meant)
		}
	}
	return nil
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
func commandFirst(cmd *cobra.Command, words []string) error {
	flags := cmd.Flags()
	dash := slices.Index(words, "--")
	if flags.ArgsLenAtDash() >= 0 || dash <= 0 {
		return flagsAfter(cmd, words) // it came after --, or there is none
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
