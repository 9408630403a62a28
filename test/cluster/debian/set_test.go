package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// What apt says of packages, with each of the forms that it has for a need.
const depends = `rabbit
  PreDepends: shell
 |Depends: erlang-base
  Depends: erlang-hipe
    erlang-base
  Depends: erlang-ssl
  Depends: <python3:any>
    python3
  Depends: libsystemd0
    libelogind0
shell
erlang-base
  Depends: <libc-virtual>
    libc6
`

func TestNeeds(t *testing.T) {
	got := parseNeeds([]byte(depends))
	want := map[string][]need{
		"rabbit": {
			{"shell"}, {"erlang-base", "erlang-hipe", "erlang-base"}, {"erlang-ssl"}, {"python3", "python3"}, {"libsystemd0", "libelogind0"},
		},
		"shell":       nil,
		"erlang-base": {{"libc6", "libc-virtual"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}

	set := Set{Packages: []string{"rabbit"}, Without: []string{"python3", "libelogind0"}}
	// An alternative that is left out settles a need as one that is taken does.
	if got, want := set.choose(got), []string{"erlang-base", "erlang-ssl", "libc6", "rabbit", "shell"}; !slices.Equal(got, want) {
		t.Errorf("chosen %v, want %v", got, want)
	}
}

func TestVersions(t *testing.T) {
	got := parseVersions([]byte("Package: b\nPriority: optional\nVersion: 1:2.3-4\nDescription: of a\n Version: 9\n\nPackage: a\nVersion: 5\n"))
	want := []version{{"a", "5"}, {"b", "1:2.3-4"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	newer := slices.Clone(want)
	newer[0].version = "6"
	var set Set
	if set.key(got) != set.key(want) || set.key(got) == set.key(newer) {
		t.Errorf("keys %s, %s, and %s of a newer version", set.key(got), set.key(want), set.key(newer))
	}
}

// With what apt knows here: the sets come down to what their programs need.
func TestResolve(t *testing.T) {
	if _, err := exec.LookPath("apt-cache"); err != nil {
		t.Skip("SKIPPED: there is no apt on this machine")
	}
	for name, wants := range map[string][]string{
		"redis":    {"redis-server", "redis-tools", "libjemalloc2", "libc6"},
		"rabbitmq": {"rabbitmq-server", "erlang-base", "erlang-ssl", "libtinfo6", "libc6"},
	} {
		versions, err := Sets[name].resolve(t.Context(), filepath.Join(t.TempDir(), "apt.bin"))
		if err != nil {
			t.Skipf("SKIPPED: apt has no lists of packages here: %v", err)
		}
		var names []string
		for _, v := range versions {
			names = append(names, v.name)
			if v.version == "" || slices.Contains(Sets[name].Without, v.name) {
				t.Errorf("%s: %+v is among its packages", name, v)
			}
		}
		for _, want := range wants {
			if !slices.Contains(names, want) {
				t.Errorf("%s: %s is not among its packages: %v", name, want, names)
			}
		}
	}
}

func TestTrim(t *testing.T) {
	tree := t.TempDir()
	for _, folder := range []string{"usr/share/doc/a", "usr/lib/x/gconv", "usr/lib/program-1.2"} {
		if err := os.MkdirAll(filepath.Join(tree, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Set{Links: map[string]string{"usr/program": "usr/lib/program-*"}}).trim(tree); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"usr/share/doc": false, "usr/lib/x/gconv": false, "usr/lib/x": true, "usr/lib/program-1.2": true} {
		if _, err := os.Stat(filepath.Join(tree, path)); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", path, err == nil, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(tree, "usr/program")); err != nil || to != "lib/program-1.2" {
		t.Errorf("the link says %q, error %v", to, err)
	}
	if err := (Set{Links: map[string]string{"usr/other": "usr/lib/other-*"}}).trim(tree); err == nil {
		t.Error("a link to nothing was made")
	}
}
