package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
)

// setup is where and with what something is read.
type setup struct {
	files   map[string]string
	environ map[string]string
	args    []string
}

// read is Read, in a directory of its own.
func (s setup) read(t *testing.T) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range s.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
	ClusterFlags(flags)
	SessionFlags(flags)
	if err := flags.Parse(s.args); err != nil {
		t.Fatal(err)
	}
	l := &loading{flags: flags, dir: dir, environ: func(name string) (string, bool) { v, ok := s.environ[name]; return v, ok }, variables: sorted(s.environ)}
	return l.read()
}

func usual() *Config {
	c := defaults().Config
	return &c
}
