package environ

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

func TestEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		user, container []string
		env, left       []string
	}{
		"empty": {},
		"the container's over the user's": {
			user:      []string{"QUEUE=mine", "EDITOR=vi"},
			container: []string{"QUEUE=orders", "POD_IP=10.0.0.1"},
			env:       []string{"EDITOR=vi", "POD_IP=10.0.0.1", "QUEUE=orders"},
		},
		"what makes no sense here stays out": {
			user:      []string{"PATH=/usr/bin", "HOME=/home/ada"},
			container: []string{"PATH=/app/bin", "HOME=/root", "LD_PRELOAD=/app/x.so", "LC_ALL=C", "XDG_RUNTIME_DIR=/x", "TERM=dumb"},
			env:       []string{"HOME=/home/ada", "PATH=/usr/bin"},
			left:      []string{"HOME", "LC_ALL", "LD_PRELOAD", "PATH", "TERM", "XDG_RUNTIME_DIR"},
		},
		"names that only look alike": {
			container: []string{"PATHS=1", "HOME_URL=2", "LDAP=3", "USERNAME=4", "HOSTNAME=worker-x-standin-1"},
			env:       []string{"HOME_URL=2", "HOSTNAME=worker-x-standin-1", "LDAP=3", "PATHS=1", "USERNAME=4"},
		},
		"values with = and of no length, and names that are none": {
			user:      []string{"A=b=c", "=C:=C:\\", "broken"},
			container: []string{"EMPTY=", "EMPTY=", "PATH=a", "PATH=b"},
			env:       []string{"A=b=c", "EMPTY="},
			left:      []string{"PATH"},
		},
		"the last of two counts": {
			container: []string{"A=1", "A=2"},
			env:       []string{"A=2"},
		},
		"what is understudy's own": {
			user: []string{"_UNDERSTUDY_STAGE=keeper", "UNDERSTUDY_TARGET=x"},
			env:  []string{"UNDERSTUDY_TARGET=x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := New(config.Env{})
			if err != nil {
				t.Fatal(err)
			}
			env, left := rules.Apply(tc.user, tc.container)
			if diff := cmp.Diff(tc.env, env); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.left, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev.env")
	if err := os.WriteFile(file, []byte("# mine\nQUEUE=from-file\nexport GREETING=\"hello there\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	user := []string{"PATH=/usr/bin", "EDITOR=vi", "Aws_Profile=mine"}
	container := []string{"PATH=/app/bin", "QUEUE=orders", "DB_HOST=db", "DB_PASSWORD=x", "READ_TIMEOUT=5", "AWS_PROFILE=theirs"}
	for name, tc := range map[string]struct {
		env       config.Env
		got, left []string
	}{
		"included": {
			config.Env{Include: []string{"QUEUE", "DB_*"}},
			[]string{"Aws_Profile=mine", "DB_HOST=db", "DB_PASSWORD=x", "EDITOR=vi", "PATH=/usr/bin", "QUEUE=orders"},
			[]string{"AWS_PROFILE", "PATH", "READ_TIMEOUT"},
		},
		"included by name, though left out by default": {
			config.Env{Include: []string{"PATH"}},
			[]string{"Aws_Profile=mine", "EDITOR=vi", "PATH=/app/bin"},
			[]string{"AWS_PROFILE", "DB_HOST", "DB_PASSWORD", "QUEUE", "READ_TIMEOUT"},
		},
		"all included is the default": {
			config.Env{Include: []string{"*"}},
			[]string{"AWS_PROFILE=theirs", "Aws_Profile=mine", "DB_HOST=db", "DB_PASSWORD=x", "EDITOR=vi", "PATH=/usr/bin", "QUEUE=orders", "READ_TIMEOUT=5"},
			[]string{"PATH"},
		},
		"excluded": {
			config.Env{Exclude: []string{"DB_????", "*_TIMEOUT"}},
			[]string{"AWS_PROFILE=theirs", "Aws_Profile=mine", "DB_PASSWORD=x", "EDITOR=vi", "PATH=/usr/bin", "QUEUE=orders"},
			[]string{"DB_HOST", "PATH", "READ_TIMEOUT"},
		},
		"none": {
			config.Env{Exclude: []string{"*"}, Override: map[string]string{"A": "1"}},
			[]string{"A=1", "Aws_Profile=mine", "EDITOR=vi", "PATH=/usr/bin"},
			[]string{"AWS_PROFILE", "DB_HOST", "DB_PASSWORD", "PATH", "QUEUE", "READ_TIMEOUT"},
		},
		"mapped, from a file, overridden, unset": {
			config.Env{
				Mapping: map[string]string{".+_TIMEOUT": "1000", "^DB_": "local", "EDITOR": "not the user's"}, File: file,
				Override: map[string]string{"DB_HOST": "localhost", "NEW": "1"}, Unset: []string{"aws_profile"},
			},
			[]string{"DB_HOST=localhost", "DB_PASSWORD=local", "EDITOR=vi", "GREETING=hello there", "NEW=1", "PATH=/usr/bin", "QUEUE=from-file", "READ_TIMEOUT=1000"},
			[]string{"PATH"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := New(tc.env)
			if err != nil {
				t.Fatal(err)
			}
			got, left := rules.Apply(user, container)
			if diff := cmp.Diff(tc.got, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.left, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFileOfVariables(t *testing.T) {
	_, err := New(config.Env{File: filepath.Join(t.TempDir(), "none")})
	if failure.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("no variable here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(config.Env{File: broken}); failure.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}
