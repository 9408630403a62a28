package chart

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	readme     = chartDir + "/README.md"
	tableBegin = "<!-- values: begin (go test ./test/chart -run TestReadmeTable -update) -->\n"
	tableEnd   = "<!-- values: end -->\n"
)

// TestReadmeTable keeps the README's table of values equal to values.yaml.
func TestReadmeTable(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableBegin)
	got, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		t.Fatalf("%s has no table of values between its two marks", readme)
	}
	values, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		t.Fatal(err)
	}
	var rows []string
	table(t, "", document.Content[0], &rows)
	want := "| value | default | what it is |\n|---|---|---|\n" + strings.Join(rows, "")
	if *update {
		if err := os.WriteFile(readme, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the README's table is not what values.yaml says; go test ./test/chart -run TestReadmeTable -update:\n%s", diff)
	}
}

// table appends one row for each value that has a comment "# -- ...". A value
// without one is a group, whose values all must have one.
func table(t *testing.T, path string, node *yaml.Node, rows *[]string) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		_, comment, documented := strings.Cut(key.HeadComment, "# -- ")
		switch {
		case documented:
			*rows = append(*rows, fmt.Sprintf("| `%s` | `%s` | %s |\n", name, inline(t, value), comment))
		case value.Kind == yaml.MappingNode && len(value.Content) > 0:
			table(t, name, value, rows)
		default:
			t.Errorf("%s in values.yaml has no comment that begins with \"# -- \"", name)
		}
	}
}

// inline is the value on one line.
func inline(t *testing.T, value *yaml.Node) string {
	t.Helper()
	flow := *value
	var set func(*yaml.Node)
	set = func(n *yaml.Node) {
		n.Style |= yaml.FlowStyle
		n.HeadComment, n.LineComment, n.FootComment = "", "", ""
		for _, child := range n.Content {
			set(child)
		}
	}
	set(&flow)
	text, err := yaml.Marshal(&flow)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
