package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/config/migrate"
)

// NewCmdConfig is the command whose subcommands look at configurations.
func NewCmdConfig(f *Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Explain, show, check and rewrite configuration files",
		Long: `Looks at what a session would do, and changes nothing in a cluster. The file is
found as exec finds it: the one that -f names, UNDERSTUDY_CONFIG_FILE,
MIRRORD_CONFIG_FILE, or the nearest .understudy/understudy.* or
.mirrord/mirrord.* (json, yaml or toml).`,
		Example: `  # What does the file that is here mean?
  understudy config verify

  # What holds, when flags and variables are added?
  understudy config show -f .mirrord/mirrord.json --scale-down

  # Rewrite mirrord's into the new form
  understudy config migrate -f .mirrord/mirrord.json --write

  # For an editor
  understudy config schema > understudy.schema.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(NewCmdVerify(f), newCmdShow(f), newCmdMigrate(f), newCmdSchema(f), newCmdKeys())
	for _, sub := range cmd.Commands() {
		withUsageErrors(sub)
	}
	return cmd
}

// NewCmdVerify explains a configuration in words.
func NewCmdVerify(f *Factory) *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Say in a paragraph what a configuration means, or all that is wrong with it",
		Long: `Says in a paragraph what a session with this configuration would do: what happens
to the target, what your process gets, how it ends. The cluster is asked for the
target when it answers in 3 seconds. Everything that is wrong is said at once,
each thing with its line and what to do.

All flags of exec are taken, so that what a flag changes can be seen. The exit
code is 0 when exec would go on from here, and 125 when it would not. What stands
against it in the cluster is said by understudy plan.`,
		Example: `  # The file that exec would find from here
  understudy config verify

  # Another, and what a flag would change
  understudy config verify .mirrord/mirrord.json --scale-down

  # In CI, where no cluster is to be asked
  understudy config verify .mirrord/mirrord.json --offline`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := nameFile(cmd, args); err != nil {
				return err
			}
			c, err := config.Read(cmd.Flags())
			if c == nil {
				return err
			}
			var said bytes.Buffer
			if c.File != "" {
				fmt.Fprintf(&said, "configuration: %s\n", c.File)
			}
			for _, notice := range c.Notices {
				fmt.Fprintf(&said, "notice: %s\n", notice)
			}
			if _, out := f.Err.Write(said.Bytes()); out != nil {
				return out
			}
			if err != nil {
				return err
			}
			ref, err := refOf(c)
			if err != nil {
				return err
			}
			var facts config.Facts
			if !offline {
				said := askTarget(cmd.Context(), c, ref)
				switch {
				case said.against != nil:
					return said.against
				case said.err != nil:
					fmt.Fprintf(f.Err, "notice: the cluster was not asked: %v\n", said.err)
				default:
					facts, c.Takeover, c.Paused = factsOf(said.target), said.takeover, false
					for _, notice := range said.target.Notices {
						fmt.Fprintf(f.Err, "notice: %s\n", notice)
					}
				}
			}
			if _, err := fmt.Fprintln(f.Out, wrap(c.Explain(facts))); err != nil || facts.Namespace == "" {
				return err
			}
			_, err = fmt.Fprintln(f.Err, "notice: what stands against it in the cluster is said by: understudy plan, with the same flags")
			return err
		},
	}
	config.SessionFlags(cmd.Flags())
	config.ClusterFlags(cmd.Flags())
	groupFlags(cmd)
	completeExec(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask the cluster")
	return cmd
}

// nameFile takes a file that is named without -f.
func nameFile(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return cmd.Flags().Set("config-file", args[0])
}

// askTargetFor is how long a cluster may take to say something of a target.
const askTargetFor = 3 * time.Second

// saying is what a cluster says of a target.
type saying struct {
	target   *target.Target
	takeover config.Takeover
	// against is why exec would not go on from here, err why nothing is known.
	against, err error
}

// askTarget finds the target, and what a pause or a freeze of it comes to, as
// exec does.
func askTarget(ctx context.Context, c *config.Config, ref target.Ref) saying {
	ctx, cancel := context.WithTimeout(ctx, askTargetFor)
	defer cancel()
	sayings := make(chan saying, 1)
	go func() { // a credential plugin does not heed ctx
		client, _, err := connect(c)
		if err != nil {
			sayings <- saying{err: err}
			return
		}
		var said saying
		opts := &ExecOptions{Config: c, Target: ref}
		if said.target, said.takeover, err = resolve(ctx, client, opts, !freezesAlone(ctx, client, c)); err != nil {
			var known *failure.Failure
			var wrong *config.Problem
			if errors.As(err, &known) || errors.As(err, &wrong) {
				said.against = err
			} else {
				said.err = err
			}
		}
		sayings <- said
	}()
	select {
	case said := <-sayings:
		return said
	case <-ctx.Done():
		return saying{err: errors.New("no answer")}
	}
}

// wrapAt is where lines of a paragraph end.
const wrapAt = 80

// wrap breaks a paragraph into lines.
func wrap(text string) string {
	var out strings.Builder
	at := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case at+1+len(word) > wrapAt:
			out.WriteByte('\n')
			at = 0
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += len(word)
	}
	return out.String()
}

func newCmdShow(f *Factory) *cobra.Command {
	var everything bool
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Print the configuration that flags, environment and file come to, as YAML",
		Long: `Prints what holds when flags, environment and file are taken together, in the
form of a configuration file: what differs from the defaults, or everything.`,
		Example: `  # What the file and the environment say, in the new form
  understudy config show

  # With every default, and what flags add
  understudy config show --all -t deployment/worker --copy-target`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := nameFile(cmd, args); err != nil {
				return err
			}
			c, err := config.Load(cmd.Flags())
			if err != nil {
				return err
			}
			if c.File != "" {
				fmt.Fprintf(f.Err, "configuration: %s\n", c.File)
			}
			text, err := c.Show(everything)
			if err != nil {
				return err
			}
			if len(text) == 0 {
				fmt.Fprintln(f.Err, "notice: nothing differs from the defaults, which --all prints")
			}
			_, err = f.Out.Write(text)
			return err
		},
	}
	config.SessionFlags(cmd.Flags())
	config.ClusterFlags(cmd.Flags())
	groupFlags(cmd)
	completeExec(cmd)
	cmd.Flags().BoolVar(&everything, "all", false, "print the defaults of what nobody has said too")
	return cmd
}

func newCmdSchema(f *Factory) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of configuration files",
		Long:    `Prints the JSON Schema of configuration files, for editors and checkers.`,
		Example: `  understudy config schema > understudy.schema.json`,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = f.Out.Write(text)
			return err
		},
	}
}

// newCmdKeys writes the reference of the configuration, for docs. It is for
// those who build this program, and hidden from those who use it.
func newCmdKeys() *cobra.Command {
	return &cobra.Command{
		Use:    "reference FILE",
		Short:  "Write the reference of the configuration, as Markdown",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.WriteFile(args[0], config.Reference(), 0o644); err != nil {
				return fmt.Errorf("writing the reference: %w", err)
			}
			return nil
		},
	}
}

func newCmdMigrate(f *Factory) *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use:   "migrate [FILE]",
		Short: "Rewrite a configuration file into understudy's own form",
		Long: `Rewrites a configuration file into understudy's own form: what has no meaning
here goes, old forms become new ones, comments and order stay. What changed and why
is said on stderr, and what you must decide yourself, such as what to write instead
of pause: true; the new text goes to stdout, or with --write into the file. mirrord
may refuse the new form: while somebody still uses it, leave
.mirrord/mirrord.json and write the new text to .understudy/understudy.json,
which is read first.

It does nothing to a file that is in the new form, and fills in no templates. A
file whose templates would not all stay where they are, one with {% ... %}, and
one that would not mean the same as before is left to you, with what there is to
change.`,
		Example: `  # See what would change, and why
  understudy config migrate .mirrord/mirrord.json

  # Leave it to those who still use mirrord, and begin a file of one's own
  mkdir -p .understudy
  understudy config migrate .mirrord/mirrord.json > .understudy/understudy.json

  # Change the file that is found from here
  understudy config migrate --write`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := nameFile(cmd, args); err != nil {
				return err
			}
			file := config.FileOf(cmd.Flags())
			if file == "" {
				return failure.New("name one: understudy config migrate FILE", "there is no configuration file here")
			}
			text, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				return failure.New("", "there is no file %s", file)
			}
			if errors.Is(err, syscall.EISDIR) {
				return failure.New("name the file in it: understudy config migrate FILE", "%s is a folder, and no configuration file", file)
			}
			if err != nil {
				return fmt.Errorf("reading the configuration: %w", err)
			}
			migrated, err := migrate.File(file, text)
			if err != nil {
				return err
			}
			for _, change := range migrated.Changes {
				fmt.Fprintf(f.Err, "changed: %s\n", change)
			}
			for _, left := range migrated.Left {
				fmt.Fprintf(f.Err, "left:    %s\n", left)
			}
			switch {
			case len(migrated.Changes) > 0:
			case len(migrated.Left) > 0:
				fmt.Fprintf(f.Err, "nothing is changed in %s: what is left is yours to decide\n", file)
			default:
				fmt.Fprintf(f.Err, "nothing to change in %s\n", file)
			}
			if !write {
				_, err = f.Out.Write(migrated.Text)
				return err
			}
			if bytes.Equal(migrated.Text, text) {
				return nil
			}
			info, err := os.Stat(file)
			if err != nil {
				return fmt.Errorf("writing the configuration: %w", err)
			}
			if err := os.WriteFile(file, migrated.Text, info.Mode().Perm()); err != nil {
				return fmt.Errorf("writing the configuration: %w", err)
			}
			if own := ownFile(file); own != "" {
				fmt.Fprintf(f.Err, "notice: whoever still uses mirrord needs %s as it was, which may refuse the new form: put that back, and keep the new one as %s, which is read first\n", file, own)
			}
			return nil
		},
	}
	config.FileFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&write, "write", "w", false, "change the file itself")
	return cmd
}

// ownFile is where a file that the other tool reads too would be understudy's
// alone; empty for one that it does not find.
func ownFile(file string) string {
	if full, err := filepath.Abs(file); err != nil || filepath.Base(filepath.Dir(full)) != ".mirrord" {
		return ""
	}
	return filepath.Join(filepath.Dir(file), "..", ".understudy", "understudy"+filepath.Ext(file))
}

// oldVerify is what fingers know from the other tool, and hidden from others.
func oldVerify(f *Factory) *cobra.Command {
	cmd := NewCmdVerify(f)
	cmd.Hidden = true
	cmd.Aliases = []string{"verify-config"}
	return cmd
}
