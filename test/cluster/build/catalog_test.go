package build

import (
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	needed := slices.DeleteFunc(slices.Clone(Catalog), func(p Part) bool { return p.Extra })
	all, err := choose(nil)
	if err != nil || len(all) != len(needed) || len(needed) == len(Catalog) {
		t.Fatalf("without names %d parts (error %v), want the %d that the cluster needs, of %d", len(all), err, len(needed), len(Catalog))
	}
	if extra, err := choose([]string{"keda"}); err != nil || len(extra) != 1 || len(extra[0].Programs) != 1 {
		t.Fatalf("an extra program by its name: %+v, %v", extra, err)
	}
	some, err := choose([]string{"kubectl", "etcd"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, part := range some {
		for _, program := range part.Programs {
			names = append(names, program.Name)
		}
	}
	if want := []string{"etcd", "kubectl"}; !slices.Equal(names, want) {
		t.Errorf("chose %v, want %v in the catalog's order", names, want)
	}
	if again, _ := choose(nil); len(again) != len(needed) || len(again[5].Programs) != len(Catalog[5].Programs) || len(Catalog[5].Programs) != 3 {
		t.Error("choosing changed the catalog")
	}
	if _, err := choose([]string{"etcd", "docker"}); err == nil || !strings.Contains(err.Error(), "docker") {
		t.Errorf("an unknown program: %v", err)
	}
}

func TestCatalogNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Names() {
		if seen[name] {
			t.Errorf("two programs are called %s", name)
		}
		seen[name] = true
	}
}

func TestLinkerFlags(t *testing.T) {
	flags := kubernetes("kubelet").linkerFlags("v1.37.2")
	for _, want := range []string{"gitVersion=v1.37.2", "gitMajor=1", "gitMinor=37"} {
		if !slices.ContainsFunc(strings.Fields(flags), func(f string) bool { return strings.HasSuffix(f, want) }) {
			t.Errorf("%q lacks %s", flags, want)
		}
	}
	if flags := local("pause").linkerFlags(""); flags != "-s -w" {
		t.Errorf("flags of a program of our own: %q", flags)
	}
}
