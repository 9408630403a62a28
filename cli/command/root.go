package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
)

// Factory is what commands need of the world around them.
type Factory struct {
	// Out is for data, Err for everything that a person reads.
	Out, Err io.Writer
	// Environ is the user's environment, as "KEY=value".
	Environ []string
	// Progress makes the printer of one run.
	Progress func(form config.Progress, verbose bool) *progress.Printer
	// form is how the command that runs was asked to show its progress, printer what
	// it shows it with; the error that ends it goes there too, in the same time.
	form    config.Progress
	printer *progress.Printer
	// asked is how the words of the command line ask for progress, for those that read
	// no configuration of a run.
	asked config.Progress
	// Split begins the processes of a stage: see stage.Split.
	Split func(stage.SplitOptions) (*stage.Front, error)
}

// NewFactory is the Factory of this process.
func NewFactory() *Factory {
	return &Factory{
		Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(),
		Progress: onStderr,
		Split:    stage.Split,
	}
}

// show is the printer of this run, of which there is one.
func (f *Factory) show(form config.Progress, verbose bool) *progress.Printer {
	if f.printer == nil {
		f.printer = f.Progress(form, verbose)
	}
	return f.printer
}

// onStderr makes a printer for this process's stderr, as its terminal is.
func onStderr(form config.Progress, verbose bool) *progress.Printer {
	fd := int(os.Stderr.Fd())
	if form == config.ProgressAuto && term.IsTerminal(fd) && os.Getenv("TERM") != "dumb" {
		form = config.ProgressTTY
	}
	return progress.New(os.Stderr, progress.Options{
		Form: form, Verbose: verbose,
		// As https://no-color.org has it: any value but none.
		Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		ASCII:  !utf8Locale(os.Getenv),
		Size:   func() (int, int) { width, height, _ := term.GetSize(fd); return width, height },
	})
}

// utf8Locale says whether the user's terminal is expected to know more than
// ASCII: by the first of the variables that decides on characters.
func utf8Locale(variable func(string) string) bool {
	locale := strings.ToLower(cmp.Or(variable("LC_ALL"), variable("LC_CTYPE"), variable("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}

// Main runs the command line and gives the exit code.
func Main(args []string) int {
	// The libraries' own logs are for their authors; what a user must know
	// comes as errors.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	return run(NewFactory(), args)
}

func run(f *Factory, args []string) int {
	root := NewCmdRoot(f)
	shown, args := calledAs(os.Args[0], args)
	if shown != "" {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: shown}
		typedAs(root, shown)
	}
	root.SetArgs(args)
	f.asked = askedForm(args, os.Getenv)
	_, err := root.ExecuteContextC(context.Background())
	var said quiet
	if err != nil && !errors.As(err, &said) {
		f.show(cmp.Or(f.form, f.asked), false).Error(err)
	}
	return exitCode(err)
}

// askedForm is how the words of a command line ask for progress to be shown, or the
// variable in their place, where nothing else could be made of them: what is wrong
// is then told in that form too.
func askedForm(args []string, variable func(string) string) config.Progress {
	form := config.Progress(variable(config.EnvironmentPrefix + "PROGRESS"))
	for i, word := range args {
		if word == "--" {
			break // the rest is the command's own
		}
		if value, ok := strings.CutPrefix(word, "--progress="); ok {
			form = config.Progress(value)
		} else if word == "--progress" && i+1 < len(args) {
			form = config.Progress(args[i+1])
		}
	}
	if !slices.Contains(form.Values(), string(form)) {
		return config.ProgressAuto
	}
	return form
}

// NewCmdRoot is the command that all others are below.
func NewCmdRoot(f *Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "understudy",
		Short: "Run a local process in the place of a workload in Kubernetes",
		Long: `Understudy runs a process on your machine in the place of a workload in a
Kubernetes cluster. It gets the workload's environment, files, names, network
and incoming traffic; with --scale-down the workload itself rests meanwhile, so
that every message of its queue comes to you. When your process ends, however it
ends, the workload is as it was.`,
		Example: `  # Every message of the queue comes to ./my-worker until it ends
  understudy exec -t deployment/worker --copy-target --scale-down -- ./my-worker

  # What can be named with -t, and who stands in for what now
  understudy ls
  understudy sessions

  # What a session would do, and what stands against it
  understudy plan -t deployment/worker --copy-target --scale-down

  # What the configuration file that is here means
  understudy config verify

  # What is in the way, here or in the cluster, and what to do about it
  understudy doctor`,
		// Errors are printed in one place, with their hints.
		SilenceErrors: true,
		// One letter wrong, or two.
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetOut(f.Out)
	cmd.SetErr(f.Err)
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetHelpTemplate(helpTemplate)
	cmd.SetUsageTemplate(usageTemplate)
	cmd.Version = release()
	cmd.SetVersionTemplate(versionLine() + "\n")
	cmd.AddCommand(NewCmdExec(f, nil), NewCmdPlan(f), NewCmdLs(f), NewCmdSessions(f), NewCmdEnd(f), NewCmdRestore(f), NewCmdThaw(f), NewCmdConfig(f), NewCmdDoctor(f), NewCmdCompletion(f), oldVerify(f), NewCmdVersion(f), NewCmdReference())
	cmd.InitDefaultHelpCmd()
	arrange(cmd)
	for _, sub := range cmd.Commands() {
		if sub.Name() == "help" {
			sub.Args = helpTopic
		} else {
			withUsageErrors(sub)
		}
	}
	return cmd
}

// helpTopic fails for words that are no command: cobra would print the help of
// what is above.
func helpTopic(cmd *cobra.Command, args []string) error {
	about, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return unknownCommand(about, args[len(args)-1])
	}
	return nil
}

// noArguments is for a command that takes none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("it takes no arguments, and there is %q", args[0])
	}
	return nil
}

// unknownCommand is the error of a word that is no command below cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	hint := "see: " + cmd.CommandPath() + " --help"
	if near := slices.Compact(cmd.SuggestionsFor(word)); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %s? Or %s", strings.Join(near, " or "), hint)
	}
	return failure.New(hint, "there is no command %q", word)
}

// withUsageErrors gives a command's complaints about its arguments a hint.
func withUsageErrors(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := valueless(cmd.Flags())
		if err == nil {
			err = check(cmd, args)
		}
		if err == nil || failure.Hint(err) != "" {
			return err
		}
		return &failure.Failure{What: fmt.Sprintf("%s: %s", cmd.CommandPath(), strings.TrimSpace(err.Error())), Hint: "see: " + cmd.CommandPath() + " --help"}
	}
}
