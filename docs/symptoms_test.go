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

// others say these: the kernel, the kubelet, a shell; or they are no messages.
var others = []string{
	"Read-only file system", "Connection timed out", "Stale file handle", "connection refused", "ErrImagePull", "ImagePullBackOff",
	"localhost", "HTTP_PROXY", "kubectl get deployment", "--scale-down", "exec", "freeze",
}

// placeholder is a word of a symptom that stands for another one.
var placeholder = regexp.MustCompile(`"[^"]*"|\.\.\.|\b[A-Z]{2,}\b|\b[NX]\b`)

// TestSymptoms: what the page of symptoms quotes is what somebody sees, as the
// programs say it.
func TestSymptoms(t *testing.T) {
	said := said(t)
	quoted := 0
	for _, p := range pages(t) {
		if p.name != "docs/troubleshooting.md" {
			continue
		}
		for line := range strings.Lines(p.text) {
			cell, _, row := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
			if !strings.HasPrefix(line, "| ") || !row {
				continue
			}
			for _, span := range (page{text: cell}).spans() {
				if slices.Contains(others, span) {
					continue
				}
				quoted++
				for _, piece := range placeholder.Split(span, -1) {
					piece = strings.ToLower(strings.Trim(piece, ` "`))
					piece = strings.TrimPrefix(piece, "error: ")
					if len(piece) > 3 && !strings.Contains(said, piece) {
						t.Errorf("nobody says %q, of %q", piece, span)
					}
				}
			}
		}
	}
	if quoted < 40 {
		t.Errorf("only %d were found", quoted)
	}
}

// said is what is in the strings of the programs, in small letters.
func said(t *testing.T) string {
	t.Helper()
	literal := regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"|`[^`]*`")
	var all strings.Builder
	for _, folder := range []string{"cli", "config", "operator"} {
		err := filepath.WalkDir(filepath.Join(top, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, found := range literal.FindAllString(string(text), -1) {
				all.WriteString(strings.ReplaceAll(strings.ToLower(strings.Trim(found, "\"`")), `\"`, `"`) + "\n")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
