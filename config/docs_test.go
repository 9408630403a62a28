package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fenced = regexp.MustCompile("(?ms)^```(json|yaml|toml)\n(.*?)^```$")

// TestDocs: every configuration that the documentation shows is read, and
// nothing is wrong with it.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, page := range append(pages, "../README.md", "../MIGRATION.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fenced.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(block[2], "apiVersion:") {
				continue // a manifest
			}
			shown++
			c, err := setup{files: map[string]string{".understudy/understudy." + block[1]: block[2]}}.read(t)
			if err != nil || len(c.Notices) > 0 {
				t.Errorf("%s: %v, %q\n%s", page, err, c.Notices, block[2])
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d were found", shown)
	}
}
