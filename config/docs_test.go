package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

var fenced = regexp.MustCompile("(?ms)^```(json|yaml|toml)\n(.*?)^```$")

// docs are the pages that speak of configurations, by their names.
func docs(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, name := range append(names, "../README.md", "../MIGRATION.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	}
	return pages
}

// TestDocs: every configuration that the documentation shows is read, nothing is
// wrong with it, and the schema allows it.
func TestDocs(t *testing.T) {
	schema := compiled(t)
	shown := 0
	for page, text := range docs(t) {
		for _, block := range fenced.FindAllStringSubmatch(text, -1) {
			if strings.Contains(block[2], "apiVersion:") {
				continue // a manifest
			}
			shown++
			c, err := setup{files: map[string]string{".understudy/understudy." + block[1]: block[2]}}.read(t)
			if err != nil || len(c.Notices) > 0 {
				t.Errorf("%s: %v, %q\n%s", page, err, c.Notices, block[2])
			}
			name := "understudy." + block[1]
			root, err := source.Parse(name, source.FormatOf(name), []byte(block[2]))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(root.Plain()); err != nil {
				t.Errorf("%s: %v\n%s", page, err, block[2])
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d were found", shown)
	}
}

// key is a piece of code that begins as a key does.
var key = regexp.MustCompile("`((?:feature|target|agent|outgoing|incoming|dns|env|fs|copy_target)\\.[a-z_.]+)(?:`|:)")

// TestKeysOfDocs: what a page calls a key is one, in full or but for the sections
// that it is in.
func TestKeysOfDocs(t *testing.T) {
	shown := 0
	for page, text := range docs(t) {
		for _, found := range key.FindAllStringSubmatch(text, -1) {
			shown++
			below := found[1]
			is := decision.Section(below) || decision.Key(below) != nil ||
				slices.ContainsFunc(decision.Keys, func(row decision.Row) bool {
					return strings.HasSuffix(row.Name, "."+below) || strings.Contains(row.Name, "."+below+".")
				})
			if !is {
				t.Errorf("%s speaks of %s, which is no key", page, below)
			}
		}
	}
	if shown < 50 {
		t.Errorf("only %d were found", shown)
	}
}
