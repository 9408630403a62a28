package output

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/cli/failure"
)

// Document is the value of -o for a command that finds one thing, which is neither
// an object of the cluster's nor a list of them. It is the flag's pflag.Value.
type Document struct{ text string }

// Documents are the forms of one, for help.
const Documents = "table|json|yaml"

// DocumentNames are those forms, for a shell.
var DocumentNames = []string{"table", "json", "yaml"}

// String is what was asked for.
func (d *Document) String() string {
	if d.text == "" {
		return "table"
	}
	return d.text
}

// Type is what help calls the value.
func (*Document) Type() string { return "form" }

// Set reads the flag's value. The error is a *failure.Failure.
func (d *Document) Set(text string) error {
	switch text {
	case "table", "json", "yaml":
		d.text = text
		return nil
	}
	return failure.New("there are "+Documents, "there is no form %q", text)
}

// People says whether it is a person who reads: then the command has words of its
// own.
func (d *Document) People() bool { return d.String() == "table" }

// Print writes the value for a program, with the names that its json tags give.
func (d *Document) Print(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	text = append(text, '\n')
	if err == nil && d.text == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	_, err = w.Write(text)
	return err
}
