package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"

	"understudy.dev/understudy/test/cluster/build"
	"understudy.dev/understudy/test/cluster/cluster"
	"understudy.dev/understudy/test/cluster/debian"
	"understudy.dev/understudy/test/cluster/image"
)

func (t tool) status() (int, error) {
	states, err := t.cluster.Status()
	if errors.Is(err, cluster.ErrDown) {
		fmt.Fprintln(t.out, "the cluster is not up")
		return exitFailed, nil
	}
	if err != nil {
		return exitFailed, err
	}
	code := exitOK
	for _, state := range states {
		how := "stopped"
		if state.Running {
			how = fmt.Sprintf("running, process %d", state.PID)
		} else {
			code = exitFailed
		}
		fmt.Fprintf(t.out, "%-26s %s\n", state.Name, how)
	}
	return code, nil
}

// env prints assignments for a shell's eval. A program's variable is its name in
// capitals: KUBE_APISERVER.
func (t tool) env() error {
	variables := map[string]string{
		"KUBECONFIG":             t.layout.Kubeconfig(),
		"UNDERSTUDY_CLUSTER_BIN": t.layout.Bin(),
	}
	for _, name := range build.Names() {
		variables[strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = t.layout.Program(name)
	}
	names := make([]string, 0, len(variables))
	for name := range variables {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(t.out, "export %s='%s'\n", name, strings.ReplaceAll(variables[name], "'", `'\''`))
	}
	return nil
}

func (t tool) user(args []string) error {
	flags := flag.NewFlagSet("user", flag.ContinueOnError)
	var groups list
	flags.Var(&groups, "group", "a `group` that the user is in")
	arguments, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(arguments) != 1 {
		return fmt.Errorf("%w: user needs one name", errUsage)
	}
	content, err := t.cluster.Kubeconfig(arguments[0], groups...)
	if err != nil {
		return err
	}
	_, err = t.out.Write(content)
	return err
}

func (t tool) control(ctx context.Context, what string, args []string) error {
	flags := flag.NewFlagSet(what, flag.ContinueOnError)
	hard := false
	if what != "start" {
		flags.BoolVar(&hard, "kill", false, "end by SIGKILL")
	}
	names, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: %s needs a component", errUsage, what)
	}
	if what != "start" {
		if err := t.cluster.Stop(ctx, hard, names...); err != nil {
			return err
		}
	}
	if what == "stop" {
		return nil
	}
	return t.cluster.Start(ctx, names...)
}

// exec runs a command on a machine and returns its exit code.
func (t tool) exec(ctx context.Context, args []string) (int, error) {
	if len(args) < 2 {
		return exitUsage, fmt.Errorf("%w: exec needs a machine and a command", errUsage)
	}
	rest := args[1:]
	if rest[0] == "--" {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return exitUsage, fmt.Errorf("%w: exec needs a command", errUsage)
	}
	machine, err := t.cluster.Machine(args[0])
	if err != nil {
		return exitFailed, err
	}
	cmd := exec.CommandContext(ctx, rest[0], rest[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, t.out, t.errOut
	if err := machine.Do(cmd.Start); err != nil {
		return exitFailed, err
	}
	err = cmd.Wait()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() >= 0 {
		return ended.ExitCode(), nil
	}
	if err != nil {
		return exitFailed, fmt.Errorf("running %s on %s: %w", rest[0], machine.Name, err)
	}
	return exitOK, nil
}

func (t tool) load(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	missing := flags.Bool("missing", false, "only what a node does not have under this name")
	archives, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return fmt.Errorf("%w: load needs a file", errUsage)
	}
	for _, archive := range archives {
		if err := t.cluster.Load(ctx, archive, *missing); err != nil {
			return err
		}
	}
	return nil
}

func (t tool) debian(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: debian needs one name", errUsage)
	}
	root, err := debian.Root(ctx, t.errOut, t.layout.Debian(), args[0])
	if err == nil {
		fmt.Fprintln(t.out, root)
	}
	return err
}

func (t tool) image(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	var files, folders, entrypoint, command, env, labels list
	spec := image.Spec{Files: map[string]string{}, Labels: map[string]string{}}
	flags.StringVar(&spec.Name, "name", "", "the image's full `name` with a tag")
	flags.Var(&files, "file", "`OUTSIDE=/INSIDE`, a file to put into the image (repeat)")
	flags.StringVar(&spec.Root, "root", "", "a `folder` outside that the image begins with")
	flags.Var(&folders, "folder", "a `path` that everybody may write to (repeat)")
	flags.Var(&entrypoint, "entrypoint", "one `word` of the entrypoint (repeat)")
	flags.Var(&command, "cmd", "one `word` of the command (repeat)")
	flags.Var(&env, "env", "`NAME=value` (repeat)")
	flags.Var(&labels, "label", "`name=value` (repeat)")
	flags.StringVar(&spec.User, "user", "", "`UID[:GID]` to run as, 65532 where it is not given")
	flags.StringVar(&spec.WorkingDir, "workdir", "", "the working `folder`")
	output := flags.String("o", "", "the archive's `file`")
	arguments, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(arguments) > 0 {
		return fmt.Errorf("%w: image takes flags only, not %q", errUsage, arguments)
	}
	if spec.Name == "" || *output == "" || len(files) == 0 && spec.Root == "" {
		return fmt.Errorf("%w: image needs --name, --file or --root, and -o", errUsage)
	}
	for _, pair := range files {
		outside, inside, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%w: --file %q is not OUTSIDE=/INSIDE", errUsage, pair)
		}
		spec.Files[inside] = outside
	}
	for _, pair := range labels {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%w: --label %q is not name=value", errUsage, pair)
		}
		spec.Labels[name] = value
	}
	spec.Folders, spec.Entrypoint, spec.Command, spec.Env = folders, entrypoint, command, slices.Clone(env)
	if err := image.Write(spec, *output); err != nil {
		return err
	}
	fmt.Fprintf(t.errOut, "made %s as %s\n", spec.Name, *output)
	return nil
}

func (t tool) push(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: push needs an archive and a full name", errUsage)
	}
	pushed, err := image.Push(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	said := "pushed"
	if !pushed {
		said = "there already:"
	}
	fmt.Fprintln(t.errOut, said, args[1])
	return nil
}
