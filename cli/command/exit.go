package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
)

// exitCodesHelp is what the help of exec says of the codes that failure.Code*
// name; docs/exit-codes.md has the same at length.
const exitCodesHelp = `Exit codes:
  the command's own   when it has ended, and everything is as it was before
  128+N               when signal N ended it
  125                 understudy itself failed, or the session was ended from outside
  126                 the command cannot be executed
  127                 there is no such command on this machine`

// quiet is the error of a command that has ended with a code of its own:
// everything there was to say is said.
type quiet struct{ code int }

func (quiet) Error() string { return "" }

// exitCode is the process's exit code for what a command returned.
func exitCode(err error) int {
	var q quiet
	if errors.As(err, &q) {
		return q.code
	}
	return failure.Code(err)
}

// locate finds the user's command on this machine, as the shell would.
func locate(name string) error {
	path, err := exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		if missing := missingInterpreter(path); missing != "" {
			return &failure.Failure{
				What: fmt.Sprintf("%s cannot be executed: it needs %q, which is not on this machine; nothing was changed in the cluster", name, missing),
				Hint: "install that, or mend the script's first line (Windows line ends are a part of it)",
				Code: failure.CodeNotExecutable,
			}
		}
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
		return notExecutable(name, err)
	}
	return notFound(name)
}

func notFound(name string) error {
	hint := "the command is run here, not in the cluster: give it as you would type it in this terminal"
	shown := name
	if words := strings.Fields(name); len(words) != 1 || words[0] != name {
		shown = strconv.Quote(name)
		if len(words) > 1 {
			hint = fmt.Sprintf("its arguments are words of their own: -- %s; what only a shell understands goes to one: -- sh -c %s", name, shown)
		}
	}
	if ref, err := target.Parse(name); err == nil && !ref.None() {
		hint += "\na target is named with -t, and the command comes after --: -t " + name + " -- COMMAND"
	}
	return &failure.Failure{
		What: "there is no command " + shown + " on this machine; nothing was changed in the cluster",
		Hint: hint, Code: failure.CodeNotFound,
	}
}

func notExecutable(name string, err error) error {
	var of *exec.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return &failure.Failure{
		What: name + " cannot be executed", Err: err,
		Hint: "is it a program, and may it be executed (chmod +x)?",
		Code: failure.CodeNotExecutable,
	}
}

// startFailure says why the command did not start on the stage.
func startFailure(name string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &failure.Failure{
			What: name + " cannot be started", Err: err, Code: failure.CodeNotExecutable,
			Hint: "it was found before: do the target's mounted files hide it, or what it needs?",
		}
	case errors.Is(err, fs.ErrPermission):
		return notExecutable(name, err)
	}
	return &failure.Failure{What: name + " cannot be started", Err: err, Code: failure.CodeNotExecutable}
}
