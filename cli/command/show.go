package command

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/config"
)

func newCmdShow(f *Factory) *cobra.Command {
	var everything bool
	form := output.Of("yaml", "json", "table", "jsonpath=")
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Print the configuration that flags, environment and file come to",
		Long: `Prints what holds when flags, environment and file are taken together, in the
form of a configuration file: what differs from the defaults, or everything. It
is YAML, or JSON, both of which exec reads; with -o table it is a line for each key.`,
		Example: `  # What the file and the environment say, in the new form
  understudy config show

  # With every default, and what flags add
  understudy config show --all -t deployment/worker --copy-target

  # One key, for a script
  understudy config show --all -o jsonpath='{.lease}'`,
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
			return showConfig(f, c, everything, &form)
		},
	}
	config.SessionFlags(cmd.Flags())
	config.ClusterFlags(cmd.Flags())
	completeExec(cmd)
	cmd.Flags().BoolVar(&everything, "all", false, "print the defaults of what nobody has said too")
	outputFlag(cmd, &form)
	return cmd
}

// showConfig prints a configuration. It is a file of its own form and no object, which
// is why JSON and YAML are not the printers' own here: these ask for a kind.
func showConfig(f *Factory, c *config.Config, everything bool, form *output.Format) error {
	text, err := c.Show(everything)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		fmt.Fprintln(f.Err, "notice: nothing differs from the defaults, which --all prints")
	}
	if form.Is("yaml") {
		_, err = f.Out.Write(text)
		return err
	}
	content := map[string]any{}
	if err := yaml.Unmarshal(text, &content); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if form.Is("json") {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "    ") // as the printers have it
		if err := encoder.Encode(content); err != nil {
			return fmt.Errorf("encoding the configuration: %w", err)
		}
		_, err = out.WriteTo(f.Out)
		return err
	}
	table := &metav1.Table{ColumnDefinitions: output.Columns("Key", "Value")}
	for _, setting := range c.Settings(everything) {
		value, isText := setting.Value.(string)
		if !isText {
			encoded, err := json.Marshal(setting.Value)
			if err != nil {
				return fmt.Errorf("encoding %s: %w", setting.Key, err)
			}
			value = string(encoded)
		}
		table.Rows = append(table.Rows, output.Row(setting.Key, value))
	}
	return form.Printer(f.Out).Print(table, &unstructured.Unstructured{Object: content})
}
