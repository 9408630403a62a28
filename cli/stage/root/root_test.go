//go:build linux

package root

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolve(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.MkdirAll(base+"/run/deep", 0o755), os.Mkdir(base+"/var", 0o755), os.Symlink("../run", base+"/var/run"),
		os.Symlink(base+"/run/deep", base+"/absolute"), os.Symlink("gone", base+"/dangling"),
		os.Symlink("loop", base+"/loop"), os.WriteFile(base+"/file", nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		at, ancestor string
		missing      []string
		fails        bool
	}{
		{"/run/deep", "/run/deep", nil, false},
		{"/var/run/secrets/token", "/run", []string{"secrets", "token"}, false},
		{"/absolute/x", "/run/deep", []string{"x"}, false},
		{"/dangling/x", "", []string{"gone", "x"}, false},
		{"/loop/x", "", nil, true},
		{"/file/x", "", nil, true},
		{"/file", "/file", nil, false},
	} {
		ancestor, missing, err := resolve(base + test.at)
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", test.at, err)
		}
		if err == nil && (ancestor != base+test.ancestor || cmp.Diff(test.missing, missing) != "") {
			t.Errorf("%s: %s and %v, want %s and %v", test.at, ancestor, missing, base+test.ancestor, test.missing)
		}
	}
}
