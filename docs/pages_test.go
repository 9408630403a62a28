// Package docs is the documentation; what is in Go here are the tests that hold
// every page of the repository to what is true: its links, the files and targets
// that it names, and each command line that it shows.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// top is the repository, as seen from this package.
const top = ".."

// page is one file of documentation.
type page struct {
	// name from the top of the repository.
	name, text string
}

// pages are all of the repository's.
func pages(t *testing.T) []page {
	t.Helper()
	var found []page
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "testdata"}, entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(top, path)
		found = append(found, page{name: filepath.ToSlash(name), text: string(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 15 {
		t.Fatalf("only %d pages were found", len(found))
	}
	return found
}

// block is one that is fenced.
type block struct {
	language string
	lines    []string
}

// split parts a page's blocks from its running text.
func (p page) split() (blocks []block, running string) {
	var rest strings.Builder
	var in *block
	for line := range strings.Lines(p.text) {
		line = strings.TrimSuffix(line, "\n")
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && in == nil:
			in = &block{language: language}
		case fence:
			blocks = append(blocks, *in)
			in = nil
		case in != nil:
			in.lines = append(in.lines, line)
		default:
			rest.WriteString(line + "\n")
		}
	}
	return blocks, rest.String()
}

var code = regexp.MustCompile("`([^`\n]+)`")

// spans are the pieces of code in a page's running text.
func (p page) spans() []string {
	_, running := p.split()
	var spans []string
	for _, found := range code.FindAllStringSubmatch(running, -1) {
		spans = append(spans, strings.ReplaceAll(found[1], `\|`, "|")) // as tables have it
	}
	return spans
}
