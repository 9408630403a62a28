package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: what a page links to is there, the heading too.
func TestLinks(t *testing.T) {
	known := map[string]page{}
	for _, p := range pages(t) {
		known[p.name] = p
	}
	followed := 0
	for _, p := range known {
		_, running := p.split()
		for _, found := range link.FindAllStringSubmatch(running, -1) {
			to := found[1]
			if strings.Contains(to, "://") {
				continue
			}
			followed++
			file, heading, _ := strings.Cut(to, "#")
			name := p.name
			if file != "" {
				name = path.Join(path.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join(top, name)); err != nil {
				t.Errorf("%s links to %s: %v", p.name, to, err)
				continue
			}
			if heading != "" && !slices.Contains(known[name].anchors(), heading) {
				t.Errorf("%s links to %s: there is no such heading", p.name, to)
			}
		}
	}
	if followed < 20 {
		t.Errorf("only %d links were found", followed)
	}
}

// anchors are the headings as links name them.
func (p page) anchors() []string {
	_, running := p.split()
	var anchors []string
	for line := range strings.Lines(running) {
		text, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(text)))
	}
	return anchors
}

// file is a piece of code that names one of the repository's.
var file = regexp.MustCompile(`^\.{0,2}/?(?:[\w.-]+/)*[\w.-]*\.(?:go|md|yaml|json|txtar|tsv|golden)$|^(?:cli|cmd|config|operator|charts|test|docs|\.ci)/[\w./-]+$`)

// own are files that the pages speak of and a user has, or a run makes.
var own = regexp.MustCompile(`^(?:\.understudy/|\.mirrord/|understudy\.|mirrord\.json|.*report\.)`)

// TestFiles: what a page calls a file or a folder of the repository is one.
func TestFiles(t *testing.T) {
	var all []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{".git", "bin"}, entry.Name()) {
			return fs.SkipDir
		}
		all = append(all, "/"+filepath.ToSlash(path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, p := range pages(t) {
		for _, span := range p.spans() {
			if !file.MatchString(span) || own.MatchString(span) {
				continue
			}
			named++
			// A page may name it as seen from the folder that it speaks of.
			suffix := "/" + strings.TrimSuffix(strings.TrimPrefix(path.Clean(span), "../"), "/")
			if !slices.ContainsFunc(all, func(name string) bool { return strings.HasSuffix(name, suffix) }) {
				t.Errorf("%s speaks of %s, which is not there", p.name, span)
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d were found", named)
	}
}
