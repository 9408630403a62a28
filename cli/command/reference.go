package command

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// NewCmdReference writes the reference of all commands, for docs/cli.md. It is
// for those who build this program, and hidden from those who use it.
func NewCmdReference() *cobra.Command {
	return &cobra.Command{
		Use:    "reference FILE",
		Short:  "Write the reference of all commands, as Markdown",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // a date would make each run another file
			page := bytes.NewBufferString("# The command line\n\nMade by `make generate` from the commands themselves.\n\n")
			if err := writeReference(page, root); err != nil {
				return err
			}
			if err := os.WriteFile(args[0], bytes.TrimRight(page.Bytes(), "\n"), 0o644); err != nil {
				return fmt.Errorf("writing the reference: %w", err)
			}
			return nil
		},
	}
}

// writeReference writes a command and those below it, each linked to its place
// on the one page.
func writeReference(page *bytes.Buffer, cmd *cobra.Command) error {
	link := func(name string) string {
		return "#" + strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "_", "-")
	}
	if err := doc.GenMarkdownCustom(cmd, page, link); err != nil {
		return fmt.Errorf("describing %s: %w", cmd.CommandPath(), err)
	}
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "help" {
			continue
		}
		page.WriteString("\n")
		if err := writeReference(page, sub); err != nil {
			return err
		}
	}
	return nil
}
