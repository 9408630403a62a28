// Package output prints what a command found on stdout, in the forms that
// kubectl has and by the printers that kubectl has them from: table, wide, json,
// yaml, name and jsonpath.
package output

import (
	"fmt"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"

	"understudy.dev/understudy/cli/failure"
)

// Forms of a list, and of one thing, as -o has them. The first is what is printed
// where nobody asks; text is a command's own words.
var (
	List     = []string{"table", "wide", "json", "yaml", "name", "jsonpath="}
	Document = []string{"text", "table", "wide", "json", "yaml", "jsonpath="}
)

// Format is the value of a flag -o; the zero one has the forms of a list.
type Format struct {
	forms   []string
	text    string
	printer printers.ResourcePrinter // nil for a person
}

// Of is a Format that has those forms, and the first of them where nobody asks.
func Of(forms ...string) Format { return Format{forms: forms} }

// Forms are those that there are, for a shell to complete.
func (f *Format) Forms() []string {
	if f.forms == nil {
		return List
	}
	return f.forms
}

// Usage are the forms as help has them.
func (f *Format) Usage() string {
	return strings.ReplaceAll(strings.Join(f.Forms(), ", "), "jsonpath=", "jsonpath=TEMPLATE")
}

// String is what was asked for.
func (f *Format) String() string {
	if f.text == "" {
		return f.Forms()[0]
	}
	return f.text
}

// Type is what help calls the value.
func (f *Format) Type() string { return "form" }

// Set reads the flag's value. The error is a *failure.Failure.
func (f *Format) Set(text string) error {
	name, template, valued := strings.Cut(text, "=")
	known := name
	if valued {
		known += "="
	}
	f.text, f.printer = text, nil
	switch {
	case !slices.Contains(f.Forms(), known):
		return f.none(text)
	case text == "text", text == "table", text == "wide":
	case text == "json":
		f.printer = &printers.JSONPrinter{}
	case text == "yaml":
		f.printer = &printers.YAMLPrinter{}
	case text == "name":
		f.printer = &printers.NamePrinter{}
	case name == "jsonpath" && template != "":
		if !strings.Contains(template, "{") {
			template = "{" + template + "}"
		}
		printer, err := printers.NewJSONPathPrinter(template)
		if err != nil {
			return &failure.Failure{What: fmt.Sprintf("the jsonpath %q cannot be read", template), Hint: "as in: -o jsonpath='{.items[*].metadata.name}'", Err: err}
		}
		printer.AllowMissingKeys(true) // as kubectl has it: objects differ
		f.printer = printer
	default:
		return f.none(text)
	}
	return nil
}

func (f *Format) none(text string) error {
	return failure.New("there are "+f.Usage(), "there is no form %q", text)
}

// People says whether it is a person who reads: what there is none of is said
// in a sentence then.
func (f *Format) People() bool { return f.printer == nil }

// Is says whether that is the form.
func (f *Format) Is(form string) bool { return f.String() == form }

// Printer prints one piece after the other; the heads of a table only once, and
// its columns below each other as far as that can be known.
type Printer struct {
	w     io.Writer
	data  printers.ResourcePrinter
	table printers.ResourcePrinter
	text  io.Writer
	flush func() error
	lone  bool // what it prints has no line end of its own
}

// Printer begins to print on w.
func (f *Format) Printer(w io.Writer) *Printer {
	p := &Printer{w: w, table: printers.NewTablePrinter(printers.PrintOptions{Wide: f.Is("wide")})}
	columns := printers.GetNewTabWriter(w)
	p.text, p.flush = columns, columns.Flush
	if f.printer != nil {
		p.data = &printers.OmitManagedFieldsPrinter{Delegate: f.printer}
	}
	p.lone = strings.HasPrefix(f.text, "jsonpath")
	return p
}

// Print prints the table for a person, and the object, which has the same and
// more, for everything else.
func (p *Printer) Print(table *metav1.Table, object runtime.Object) error {
	if p.data == nil {
		if err := p.table.PrintObj(table, p.text); err != nil {
			return fmt.Errorf("printing a table: %w", err)
		}
		return p.flush()
	}
	if err := p.data.PrintObj(object, p.w); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	if p.lone {
		_, err := io.WriteString(p.w, "\n")
		return err
	}
	return nil
}

// Columns are the heads of a table; those that begin with "+" are only in a
// wide one.
func Columns(names ...string) []metav1.TableColumnDefinition {
	var columns []metav1.TableColumnDefinition
	for _, name := range names {
		column := metav1.TableColumnDefinition{Name: strings.TrimPrefix(name, "+"), Type: "string"}
		if column.Name != name {
			column.Priority = 1
		}
		columns = append(columns, column)
	}
	return columns
}

// Row is one row of a table. An empty cell is printed as "-", so that a line
// can be taken apart at its blanks.
func Row(cells ...string) metav1.TableRow {
	row := metav1.TableRow{}
	for _, cell := range cells {
		if cell == "" {
			cell = "-"
		}
		row.Cells = append(row.Cells, cell)
	}
	return row
}

// Items is a list of objects as kubectl prints one.
func Items(items []runtime.Object) (*unstructured.UnstructuredList, error) {
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}}}
	for _, item := range items {
		object, err := Object(item)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, *object)
	}
	return list, nil
}

// Object is one object with the fields that it has as JSON.
func Object(item any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
	if err != nil {
		return nil, fmt.Errorf("encoding the result: %w", err)
	}
	return &unstructured.Unstructured{Object: content}, nil
}
