package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files anew")

// legacyFiles are other people's own configuration files, as they are public;
// INDEX.tsv says whose.
func legacyFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.json", "*.yaml"} {
		found, err := filepath.Glob("testdata/legacy/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) != 80 {
		t.Fatalf("there are %d files", len(files))
	}
	return files
}

// readAlone reads one file with nothing else said.
func readAlone(t *testing.T, file string, environ map[string]string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
	ClusterFlags(flags)
	SessionFlags(flags)
	if err := flags.Parse([]string{"-f", filepath.Base(file)}); err != nil {
		t.Fatal(err)
	}
	l := &loading{flags: flags, dir: filepath.Dir(file), environ: func(name string) (string, bool) { v, ok := environ[name]; return v, ok }}
	c, err := l.load()
	var problems Problems
	if err != nil {
		problems = err.(Problems) //nolint:errorlint // it returns nothing else
	}
	return c, append(problems, l.check(c)...).orNil()
}

// TestLegacy: what each of the files comes to.
func TestLegacy(t *testing.T) {
	environ := map[string]string{"USER": "ada", "PWD": "/work", "HOME": "/home/ada"}
	for _, file := range legacyFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := readAlone(t, file, environ)
			var out strings.Builder
			for _, notice := range c.Notices {
				fmt.Fprintf(&out, "# notice: %s\n", notice)
			}
			if err != nil {
				for _, p := range err.(Problems) { //nolint:errorlint // it returns nothing else
					fmt.Fprintf(&out, "# error: %s\n", p)
					if p.Advice != "" {
						fmt.Fprintf(&out, "#        (%s)\n", p.Advice)
					}
				}
			}
			shown, err := c.Show(false)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(shown)
			golden := filepath.Join("testdata/resolved", filepath.Base(file)+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
