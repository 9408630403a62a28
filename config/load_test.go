package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestDefaults(t *testing.T) {
	got, err := setup{args: []string{"--copy-target", "-t", "pod/w"}}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := usual()
	want.Takeover, want.Target = TakeoverCopy, "pod/w"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFound: which file is taken when several are there.
func TestFound(t *testing.T) {
	files := map[string]string{
		"own.toml": "target = 'pod/w'\ntakeover = 'copy'", "other.json": `{"target": "pod/w", "feature": {"copy_target": true}}`,
		".understudy/understudy.json": `{"target": "pod/w", "takeover": "copy"}`, ".mirrord/mirrord.json": `{"target": "pod/w", "feature": {"copy_target": true}}`,
	}
	both := map[string]string{"UNDERSTUDY_CONFIG_FILE": "own.toml", "MIRRORD_CONFIG_FILE": "other.json"}
	for name, tc := range map[string]struct {
		without string
		environ map[string]string
		args    []string
		want    string
	}{
		"the flag's":                  {"", both, []string{"-f", "other.json"}, "other.json"},
		"understudy's variable's":     {"", both, nil, "own.toml"},
		"the other tool's variable's": {"", map[string]string{"MIRRORD_CONFIG_FILE": "other.json"}, nil, "other.json"},
		"understudy's place":          {"", nil, nil, ".understudy/understudy.json"},
		"the other tool's place":      {".understudy/understudy.json", nil, nil, ".mirrord/mirrord.json"},
		"none":                        {"", both, []string{"-f", "none", "--copy-target", "-t", "pod/w"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			there := map[string]string{}
			for file, text := range files {
				if file != tc.without {
					there[file] = text
				}
			}
			got, err := setup{there, tc.environ, tc.args}.read(t)
			if err != nil || got.File != tc.want || got.Takeover != TakeoverCopy {
				t.Errorf("took %q, %s, %v; want %q", got.File, got.Takeover, err, tc.want)
			}
		})
	}
}

// TestUnread: nothing is said of what a file that cannot be read may hold.
func TestUnread(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"broken.json", "nonesuch.json"} {
		flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
		SessionFlags(flags)
		if err := flags.Parse([]string{"-f", file}); err != nil {
			t.Fatal(err)
		}
		l := &loading{flags: flags, dir: dir, environ: func(string) (string, bool) { return "", false }}
		if c, err := l.read(); err == nil || len(c.Notices) > 0 {
			t.Errorf("%s: %v, notices %q", file, err, c.Notices)
		}
	}
}
