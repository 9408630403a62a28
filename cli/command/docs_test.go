package command

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var typed = regexp.MustCompile(`(?m)^\s*(?:\$ )?understudy ([a-z].*)$`)

// TestDocs: every understudy command that the documentation and the help show
// is one that can be typed.
func TestDocs(t *testing.T) {
	t.Chdir(t.TempDir()) // where no configuration is found
	shown := 0
	top, err := filepath.Abs(pageDir)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(top, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, filepath.Join(top, "README.md"), filepath.Join(top, "MIGRATION.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range typed.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(strings.TrimSpace(strings.Split(strings.Split(line[1], " #")[0], " > ")[0]))
			if strings.ContainsAny(line[1], "[]") || slices.Contains(words, "completion") {
				continue // a usage line
			}
			shown++
			if err := accepted(words); err != nil {
				t.Errorf("%s: understudy %s: %v", filepath.Base(page), line[1], err)
			}
		}
	}
	if shown < 20 {
		t.Errorf("only %d were found", shown)
	}
}

// pageDir is seen from this package.
var pageDir = func() string {
	dir, _ := os.Getwd()
	return filepath.Join(dir, "../..")
}()

// accepted says whether a command line's words are taken, without doing what
// they say. The files that it names are another's.
func accepted(words []string) error {
	f := &Factory{Out: io.Discard, Err: io.Discard}
	root := NewCmdRoot(f)
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd.Name() == "exec" {
		if dash := slices.Index(rest, "--"); dash >= 0 {
			rest = append(slices.Clone(rest[:dash+1]), "true")
		}
		if file := slices.Index(rest, "-f"); file >= 0 && file+1 < len(rest) {
			rest = slices.Delete(slices.Clone(rest), file, file+2)
			rest = append([]string{"--copy-target"}, rest...)
		}
		try := NewCmdExec(f, func(context.Context, *ExecOptions) error { return nil })
		try.SilenceErrors, try.SilenceUsage = true, true
		try.SetArgs(rest)
		return try.Execute()
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if cmd.Args != nil {
		return cmd.Args(cmd, cmd.Flags().Args())
	}
	return nil
}
