package command

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/config/migrate"
	configsource "understudy.dev/understudy/config/source"
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

// nameFile takes a file that is named without -f.
func nameFile(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return cmd.Flags().Set("config-file", args[0])
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
is said on stderr, and what is left to you, each thing with what to do: what to write
instead of pause: true, and all that exec would refuse of the new text. The exit code
is 0 with that too: verify is for asking. The new text goes to stdout, or with --write into the file. mirrord
may refuse the new form: while somebody still uses it, leave
.mirrord/mirrord.json and write the new text to .understudy/understudy.json,
which is read first.

It does nothing to a file that is in the new form, fills in no templates, and
refuses an empty file: a shell empties the one that > names before anything is
read. A file whose templates would not all stay where they are, one with
{% ... %}, and one that would not mean the same as before is left to you, with
what there is to change.`,
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
			file, passed := config.FileOf(cmd.Flags())
			for _, over := range passed {
				if over.Empty {
					return nothingIn(over.Path)
				}
			}
			if file == "" {
				return failure.New("name one: understudy config migrate FILE", "there is no configuration file here")
			}
			text, err := configsource.Read(file, true)
			if errors.Is(err, fs.ErrNotExist) {
				return failure.New("", "there is no file %s", file)
			}
			if errors.Is(err, configsource.ErrFolder) {
				return failure.New("name the file in it: understudy config migrate FILE", "%s is a folder, and no configuration file", file)
			}
			if err != nil {
				return fmt.Errorf("reading the configuration: %w", err)
			}
			if len(text) == 0 {
				return nothingIn(file)
			}
			migrated, err := migrate.File(file, text)
			if err != nil {
				return err
			}
			for _, change := range migrated.Changes {
				fmt.Fprintf(f.Err, "changed: %s\n", change)
			}
			if left := leftOfTarget(migrated.Target); left != "" {
				migrated.Left = append(migrated.Left, left)
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
			if err := rewrite(file, migrated.Text); err != nil {
				return err
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

// nothingIn is the error for an empty file: a shell has emptied it, for what this
// command would print, or another one is meant.
func nothingIn(file string) error {
	hint := "name the file that is meant: understudy config migrate FILE"
	if next, _ := config.FileOf(nil); next != "" && next != file {
		hint = "name the file that is meant, as in understudy config migrate " + next + "; a shell empties the file that > names before anything is read"
	}
	return failure.New(hint, "%s is empty: there is nothing to rewrite", file)
}

// leftOfTarget is what is wrong with a target's form, and what to do about it; empty
// where nothing is, or where there is none, which is another matter.
func leftOfTarget(text string) string {
	if text == "" {
		return ""
	}
	_, err := target.Parse(text)
	var wrong *failure.Failure
	switch {
	case err == nil:
		return ""
	case errors.As(err, &wrong) && wrong.Hint != "":
		return wrong.Error() + ": " + wrong.Hint
	}
	return err.Error()
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
