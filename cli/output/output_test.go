package output

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

func one() (*metav1.Table, runtime.Object, error) {
	session := &v1alpha1.Session{
		TypeMeta:   metav1.TypeMeta{APIVersion: "understudy.dev/v1alpha1", Kind: "Session"},
		ObjectMeta: metav1.ObjectMeta{Name: "worker-1", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
	}
	list, err := Items([]runtime.Object{session})
	return &metav1.Table{ColumnDefinitions: Columns("Name", "Owner", "+Host"), Rows: []metav1.TableRow{Row("worker-1", "", "laptop")}}, list, err
}

func TestForms(t *testing.T) {
	for form, want := range map[string]string{
		"table":                     "NAME       OWNER\nworker-1   -\n",
		"wide":                      "NAME       OWNER   HOST\nworker-1   -       laptop\n",
		"name":                      "session.understudy.dev/worker-1\n",
		"jsonpath=.items[0].kind":   "Session\n",
		"jsonpath={.items[0].kind}": "Session\n",
		"jsonpath={range .items[*]}{.metadata.managedFields}{end}": "\n",
	} {
		var f Format
		if err := f.Set(form); err != nil {
			t.Fatal(err)
		}
		table, object, err := one()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := f.Printer(&out).Print(table, object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("-o %s (-want +got):\n%s", form, diff)
		}
	}
}

func TestNoSuchForm(t *testing.T) {
	for _, form := range []string{"", "text", "xml", "json=", "jsonpath", "jsonpath=", "jsonpath={"} {
		var of *failure.Failure
		if err := new(Format).Set(form); !errors.As(err, &of) || of.Hint == "" {
			t.Errorf("-o %q: %v", form, err)
		}
	}
}

// TestOf: a command has the forms that make sense of what it finds, and says which.
func TestOf(t *testing.T) {
	f := Of(Document...)
	if !f.Is("text") || !f.People() {
		t.Errorf("where nobody asks it is %s", f.String())
	}
	if err := f.Set("name"); failure.Hint(err) != "there are text, table, wide, json, yaml, jsonpath=TEMPLATE" {
		t.Errorf("name: %v (%s)", err, failure.Hint(err))
	}
	for _, form := range []string{"wide", "jsonpath={.a}"} {
		if err := f.Set(form); err != nil || !f.Is(form) || f.People() != (form == "wide") {
			t.Errorf("%s: %v, it is %s", form, err, f.String())
		}
	}
}

// TestOneHead: rows that come later stand below the same head.
func TestOneHead(t *testing.T) {
	var out bytes.Buffer
	p := new(Format).Printer(&out)
	for range 2 {
		table, object, err := one()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Print(table, object); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff("NAME       OWNER\nworker-1   -\nworker-1   -\n", out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}
