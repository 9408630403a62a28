package docs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/cli/command"
)

// programs are those that the pages have a reader type.
var programs = []string{"understudy", "kubectl", "helm", "make"}

// typed is a command line that a page shows.
type typed struct {
	page, line string
	// whole: it is to be typed as it is, and not only spoken of.
	whole bool
	// words of it, as a shell has them.
	words []string
}

// lines are the command lines of a page: those of its blocks, and those in its
// running text that begin with a program's name.
func (p page) lines() []typed {
	var lines []typed
	add := func(line string, whole bool) {
		line, _ = strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if inner := regexp.MustCompile(`^source <\((.*)\)$`).FindStringSubmatch(line); inner != nil {
			line = inner[1]
		}
		// What becomes of its output is the shell's.
		for _, end := range []string{" > ", " >> ", " | "} {
			line, _, _ = strings.Cut(line, end)
		}
		if first, _, _ := strings.Cut(line, " "); slices.Contains(programs, first) {
			lines = append(lines, typed{page: p.name, line: line, whole: whole})
		}
	}
	blocks, _ := p.split()
	for _, b := range blocks {
		text := strings.ReplaceAll(strings.Join(b.lines, "\n"), "\\\n", " ")
		for line := range strings.Lines(text) {
			// In the reference a line that is not indented is a usage line.
			if p.name != "docs/cli.md" || strings.HasPrefix(line, " ") {
				add(line, true)
			}
		}
	}
	for _, span := range p.spans() {
		add(span, false)
	}
	return lines
}

// recorded has a shell read the lines, with functions for programs that only say
// how they were called.
func recorded(t *testing.T, lines []typed) []typed {
	t.Helper()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash to read the lines as a reader's shell would")
	}
	var script strings.Builder
	for _, name := range programs {
		script.WriteString(name + `() { printf '%s\0' ` + name + ` "$@"; }` + "\n")
	}
	for _, l := range lines {
		script.WriteString(l.line + "\n" + `printf '\n\0'` + "\n")
	}
	// Restricted, and without a path, it runs nothing else and writes nowhere.
	cmd := exec.Command(shell, "-r", "-e", "-c", script.String())
	cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH="}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("a shell does not take the lines: %v\n%s", err, out)
	}
	said := strings.Split(strings.TrimSuffix(string(out), "\x00\n\x00"), "\x00\n\x00")
	if len(said) != len(lines) {
		t.Fatalf("of %d lines %d call one of %q:\n%q", len(lines), len(said), programs, out)
	}
	for i := range lines {
		lines[i].words = strings.Split(said[i], "\x00")
	}
	return lines
}

// TestTyped: every command line that a page shows can be typed.
func TestTyped(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	values := chartValues(t)
	var lines []typed
	for _, p := range pages(t) {
		lines = append(lines, p.lines()...)
	}
	lines = recorded(t, lines)
	t.Chdir(t.TempDir()) // where no configuration is found
	shown := map[string]int{}
	for _, l := range lines {
		program, words := l.words[0], l.words[1:]
		if program == "kubectl" && len(words) > 0 && words[0] == "understudy" {
			program, words = "understudy", words[1:]
		}
		shown[program]++
		err := error(nil)
		switch program {
		case "understudy":
			err = accepted(words, l.whole)
		case "make":
			err = made(words, makefile)
		case "helm":
			err = set(words, values)
		}
		if err != nil {
			t.Errorf("%s: %s: %v", l.page, l.line, err)
		}
	}
	for program, least := range map[string]int{"understudy": 60, "make": 25, "kubectl": 5, "helm": 3} {
		if shown[program] < least {
			t.Errorf("of %s only %d lines were found", program, shown[program])
		}
	}
}

// accepted says whether a command line's words are taken, without doing what
// they say. The files that it names are another's.
func accepted(words []string, whole bool) error {
	f := &command.Factory{Out: io.Discard, Err: io.Discard}
	root := command.NewCmdRoot(f)
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return errors.New("there is no such command")
	}
	if !whole && len(rest) == 0 {
		return nil // only spoken of
	}
	if cmd.Name() == "exec" && (whole || slices.Contains(rest, "--")) {
		return execAccepted(f, rest)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		var value *pflag.ValueRequiredError
		if !whole && errors.As(err, &value) {
			return nil
		}
		return err
	}
	if cmd.Args != nil && cmd.Name() != "exec" {
		return cmd.Args(cmd, cmd.Flags().Args())
	}
	return nil
}

// execAccepted has exec read its configuration too, with the page's command and
// file exchanged for ones that are here.
func execAccepted(f *command.Factory, words []string) error {
	if dash := slices.Index(words, "--"); dash >= 0 {
		words = append(slices.Clone(words[:dash+1]), "true")
	}
	if file := slices.Index(words, "-f"); file >= 0 && file+1 < len(words) {
		words = append([]string{"--copy-target"}, slices.Delete(slices.Clone(words), file, file+2)...)
	}
	if some := slices.Index(words, "..."); some >= 0 {
		words = slices.Replace(slices.Clone(words), some, some+1, "-t", "deployment/worker", "--copy-target")
	}
	cmd := command.NewCmdExec(f, func(context.Context, *command.ExecOptions) error { return nil })
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(words)
	return cmd.Execute()
}

// made says whether the Makefile has the targets, and knows the variables.
func made(words []string, makefile []byte) error {
	for _, word := range words {
		pattern := "(?m)^" + regexp.QuoteMeta(word) + ":"
		if name, _, variable := strings.Cut(word, "="); variable {
			pattern = `\$\([^)]*\b` + regexp.QuoteMeta(name) + `\b`
		}
		if !regexp.MustCompile(pattern).Match(makefile) {
			return errors.New("the Makefile has no " + word)
		}
	}
	return nil
}

func chartValues(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "charts/understudy/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// set says whether the chart has the values that are set.
func set(words []string, values map[string]any) error {
	for i, word := range words {
		if word != "--set" || i+1 == len(words) {
			continue
		}
		for pair := range strings.SplitSeq(words[i+1], ",") {
			key, _, _ := strings.Cut(pair, "=")
			at := any(values)
			for part := range strings.SplitSeq(key, ".") {
				section, _ := at.(map[string]any)
				below, ok := section[part]
				if !ok {
					return errors.New("the chart has no value " + key)
				}
				at = below
			}
		}
	}
	return nil
}

// flag is a piece of code that begins with one.
var flag = regexp.MustCompile(`^(--[a-z][a-z-]+)(?:[ =]|$)`)

// TestFlags: what a page calls a flag is one of some command.
func TestFlags(t *testing.T) {
	known := map[string]bool{}
	var learn func(cmd *cobra.Command)
	learn = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		for _, below := range cmd.Commands() {
			learn(below)
		}
	}
	learn(command.NewCmdRoot(&command.Factory{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}))
	// Helm's own.
	for _, foreign := range []string{"--set", "--timeout", "--no-hooks"} {
		known[foreign] = true
	}
	shown := 0
	for _, p := range pages(t) {
		for _, span := range p.spans() {
			found := flag.FindStringSubmatch(span)
			if found == nil {
				continue
			}
			shown++
			if !known[found[1]] {
				t.Errorf("%s speaks of %s, which is no flag", p.name, span)
			}
		}
	}
	if shown < 30 {
		t.Errorf("only %d were found", shown)
	}
}
