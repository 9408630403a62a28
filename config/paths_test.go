package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestMissingFiles: a file that is named and not there is told with all else, and where
// it was named.
func TestMissingFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		setup setup
		want  string
	}{
		"a file's":     {setup{map[string]string{".understudy/understudy.yaml": "target: pod/x\nlease: 1s\nfeature:\n  env:\n    env_file: no.env\n"}, nil, nil}, ".understudy/understudy.yaml:5: there is no file no.env, which feature.env.env_file names"},
		"a flag's":     {setup{nil, nil, []string{"--env-file", "no.env"}}, "there is no file no.env, which --env-file names"},
		"a variable's": {setup{nil, map[string]string{"MIRRORD_OVERRIDE_ENV_VARS_FILE": "no.env"}, nil}, "there is no file no.env, which MIRRORD_OVERRIDE_ENV_VARS_FILE names"},
		"a kubeconfig": {setup{nil, nil, []string{"--kubeconfig", "none.yaml"}}, "there is no file none.yaml, which --kubeconfig names"},
		"a folder":     {setup{map[string]string{"dir/x": ""}, nil, []string{"--env-file", "dir"}}, "dir, which --env-file names, is a folder"},
	} {
		if _, err := tc.setup.read(t); !strings.Contains(errorText(err), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPaths: what the paths of a file, a variable and a flag are relative to.
func TestPaths(t *testing.T) {
	repo := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const says = "feature: {env: {env_file: dev.env}}\nkubeconfig: kube/dev\ntarget: pod/x\n"
	write(".git/HEAD", "ref: refs/heads/main\n")
	write(".mirrord/mirrord.yaml", says)
	write("a/.understudy/understudy.yaml", says)
	write("a/plain.yaml", says)
	write("a/home.yaml", "feature: {env: {env_file: '~/dev.env'}}\nkubeconfig: ${WHERE}/$WHICH.yaml\ntarget: pod/x\n")
	for _, name := range []string{"dev.env", "kube/dev", "a/dev.env", "a/kube/dev", "b/c/dev.env", "b/c/kube/dev", "b/c/flag.env", "b/c/variable"} {
		write(name, "")
	}
	for name, tc := range map[string]struct {
		dir, file string
		environ   map[string]string
		args      []string
		env, kube string
	}{
		"found above":       {dir: "b/c", env: "../../dev.env", kube: "../../kube/dev"},
		"found here":        {dir: "", env: "dev.env", kube: "kube/dev"},
		"found, our own":    {dir: "a", env: "dev.env", kube: "kube/dev"},
		"the same, named":   {dir: "b/c", file: "../../.mirrord/mirrord.yaml", env: "../../dev.env", kube: "../../kube/dev"},
		"named from inside": {dir: ".mirrord", file: "mirrord.yaml", env: "../dev.env", kube: "../kube/dev"},
		"another, named":    {dir: "b/c", file: "../../a/plain.yaml", env: "dev.env", kube: "kube/dev"},
		"flag":              {dir: "b/c", args: []string{"--env-file", "flag.env"}, env: "flag.env", kube: "../../kube/dev"},
		"variable":          {dir: "b/c", environ: map[string]string{"MIRRORD_KUBECONFIG": "variable"}, env: "../../dev.env", kube: "variable"},
		"home and variables of a path": {dir: "a", file: "home.yaml", environ: map[string]string{"HOME": repo, "WHERE": filepath.Join(repo, "kube"), "WHICH": "dev"},
			env: filepath.Join(repo, "dev.env"), kube: filepath.Join(repo, "kube/dev.yaml")},
	} {
		t.Run(name, func(t *testing.T) {
			flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
			ClusterFlags(flags)
			SessionFlags(flags)
			args := tc.args
			if tc.file != "" {
				args = append(args, "-f", tc.file)
			}
			if err := flags.Parse(args); err != nil {
				t.Fatal(err)
			}
			l := &loading{flags: flags, dir: filepath.Join(repo, tc.dir), environ: func(name string) (string, bool) { v, ok := tc.environ[name]; return v, ok }}
			c, err := l.load()
			if err != nil || c.Env.File != tc.env || c.Kubeconfig != tc.kube {
				t.Errorf("env_file %q, kubeconfig %q, %v", c.Env.File, c.Kubeconfig, err)
			}
		})
	}
	c, err := setup{files: map[string]string{".understudy/understudy.yaml": "target: pod/x\nkubeconfig: $NOWHERE/x"}}.read(t)
	if want := ".understudy/understudy.yaml:2: kubeconfig is taken from $NOWHERE, and that variable is not set"; !strings.Contains(errorText(err), want) {
		t.Errorf("%q, %v", c.Kubeconfig, err)
	}
}
