package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func load(t *testing.T, args ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
	ClusterFlags(flags)
	SessionFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags)
}

func TestDefaults(t *testing.T) {
	got, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{Takeover: TakeoverNone, Lease: time.Minute, SetupTimeout: 2 * time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "session.yaml")
	if err := os.WriteFile(file, []byte(`
target: deployment/from-file
target-namespace: from-file
context: from-file
copy-target: true
scale-down: true
listen: [8080, "9090"]
lease: 30s
setup-timeout: 20s
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNDERSTUDY_CONFIG_FILE", file)
	t.Setenv("UNDERSTUDY_TARGET_NAMESPACE", "from-env")
	t.Setenv("UNDERSTUDY_TARGET", "deployment/from-env")
	t.Setenv("UNDERSTUDY_VERBOSE", "1")
	got, err := load(t, "-t", "deployment/from-flag")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Target: "deployment/from-flag", Namespace: "from-env", Context: "from-file",
		Takeover: TakeoverScaleDown, Listen: Listen{Ports: []int32{8080, 9090}}, Lease: 30 * time.Second, SetupTimeout: 20 * time.Second, Verbose: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
}

func TestFlags(t *testing.T) {
	t.Setenv("UNDERSTUDY_LISTEN", "1,2")
	got, err := load(t, "--copy-target", "--share-traffic", "--listen", "80", "--listen", "443,80", "--listen=all", "--lease=90s", "--setup-timeout=5m",
		"-n", "shop", "--context", "c", "--kubeconfig", "k")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Namespace: "shop", Context: "c", Kubeconfig: "k", Takeover: TakeoverCopy, ShareTraffic: true,
		Listen: Listen{All: true, Ports: []int32{80, 443}}, Lease: 90 * time.Second, SetupTimeout: 5 * time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = load(t); err != nil || !cmp.Equal(got.Listen, Listen{Ports: []int32{1, 2}}) {
		t.Errorf("from the environment: %+v, %v", got, err)
	}
}

func TestProblems(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unknown := write("unknown.yaml", "copy_target: true\n")
	slow := write("slow.yaml", "setup-timeout: soon\n")
	for name, tc := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"attach":         {nil, "", "attaching to the running target does not work yet"},
		"pause":          {[]string{"--pause"}, "", "freezing the target (--pause) does not work yet"},
		"pause and copy": {[]string{"--pause", "--copy-target"}, "", "--pause and --copy-target exclude each other"},
		"scale alone":    {[]string{"--scale-down"}, "", "--scale-down needs a stand-in that runs instead of the target"},
		"share and scale": {[]string{"--copy-target", "--scale-down", "--share-traffic"}, "",
			"--share-traffic is for a copy beside the target"},
		"port":        {[]string{"--copy-target", "--listen", "http"}, "", `--listen "http" is no port`},
		"port 0":      {[]string{"--copy-target", "--listen", "0"}, "", `--listen "0" is no port`},
		"port beyond": {[]string{"--copy-target", "--listen", "65536"}, "", `--listen "65536" is no port`},
		"short lease": {[]string{"--copy-target", "--lease", "4s"}, "", "a lease of 4s is not possible"},
		"odd lease":   {[]string{"--copy-target", "--lease", "5500ms"}, "", "a lease of 5.5s is not possible"},
		"long setup":  {[]string{"--copy-target", "--setup-timeout", "2h"}, "", "a setup timeout of 2h0m0s is not possible"},
		"no time":     {[]string{"-f", slow}, "", `a setup timeout of "soon" is no time`},
		"no switch":   {nil, "maybe", `copy-target is "maybe"`},
		"no file":     {[]string{"-f", filepath.Join(dir, "none.yaml")}, "", "there is no file " + filepath.Join(dir, "none.yaml")},
		"unknown key": {[]string{"-f", unknown}, "", unknown + ` has an unknown key "copy_target"`},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.env != "" {
				t.Setenv("UNDERSTUDY_COPY_TARGET", tc.env)
			}
			c, err := load(t, tc.args...)
			if err == nil {
				err = c.Check()
			}
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
