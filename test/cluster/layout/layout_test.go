package layout

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestFromEnvironment(t *testing.T) {
	tests := map[string]struct {
		xdg, home string
		want      string
		wantError string
	}{
		"XDG wins":               {xdg: "/x", home: "/h", want: "/x/understudy"},
		"home":                   {home: "/h", want: "/h/.cache/understudy"},
		"hidden by a node's own": {xdg: "/var/lib/cache", wantError: "/var/lib"},
		"only a common prefix":   {xdg: "/running", want: "/running/understudy"},
		"too long for a socket":  {xdg: "/" + strings.Repeat("x", 80), wantError: "longer than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", test.xdg)
			t.Setenv("HOME", test.home)
			got, err := FromEnvironment()
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("error %v, want one that says %q", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Root != test.want {
				t.Errorf("root %s, want %s", got.Root, test.want)
			}
			if want := filepath.Join(test.want, "cluster", "kubeconfig"); got.Kubeconfig() != want {
				t.Errorf("kubeconfig %s, want %s", got.Kubeconfig(), want)
			}
		})
	}
}
