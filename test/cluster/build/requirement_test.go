package build

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

const goMod = `module example.com/m

go 1.26.0

require (
	k8s.io/api v0.0.0
	k8s.io/kubernetes v1.37.2
	example.com/a v1.0.0 // indirect
	example.com/a/b v1.2.0
)

replace k8s.io/api => k8s.io/api v0.37.2
`

func TestRequirements(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), []byte(goMod), 0o644); err != nil {
		t.Fatal(err)
	}
	versions, err := readRequirements(folder)
	if err != nil {
		t.Fatal(err)
	}
	for pkg, want := range map[string]string{
		"k8s.io/kubernetes/cmd/kubelet": "v1.37.2",
		"k8s.io/api/core/v1":            "v0.37.2",
		"example.com/a":                 "v1.0.0",
		"example.com/a/b/c":             "v1.2.0",
		"example.com/ab":                "",
		module + "/program/etcd":        "",
	} {
		if got := versions.version(pkg); got != want {
			t.Errorf("%s is of version %q, want %q", pkg, got, want)
		}
	}
}

func TestMet(t *testing.T) {
	versions := requirements{"example.com/a": "v1.0.0", "k8s.io/api": "v0.37.2"}
	replaced := func(version string) *debug.Module {
		return &debug.Module{Path: "k8s.io/api", Version: "v0.0.0", Replace: &debug.Module{Path: "k8s.io/api", Version: version}}
	}
	tests := map[string]struct {
		dependencies []*debug.Module
		want         bool
	}{
		"nothing needed":   {nil, true},
		"all as required":  {[]*debug.Module{{Path: "example.com/a", Version: "v1.0.0"}, replaced("v0.37.2")}, true},
		"other version":    {[]*debug.Module{{Path: "example.com/a", Version: "v1.0.1"}}, false},
		"replaced by less": {[]*debug.Module{replaced("v0.37.1")}, false},
		"not required now": {[]*debug.Module{{Path: "example.com/b", Version: "v1.0.0"}}, false},
	}
	for name, test := range tests {
		if got := versions.met(test.dependencies); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	torn := filepath.Join(t.TempDir(), "torn")
	if err := os.WriteFile(torn, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{torn, torn + "-missing"} {
		if versions.metBy(path) {
			t.Errorf("%s is taken for a program", path)
		}
	}
}

func TestKeyChangesWithAllThatMatters(t *testing.T) {
	program := kubernetes("kubelet")
	base := key(program, "v1.37.2", "", "go1.26.8", "amd64")
	if again := key(program, "v1.37.2", "", "go1.26.8", "amd64"); again != base {
		t.Errorf("keys of the same: %s and %s", base, again)
	}
	for what, other := range map[string]string{
		"package":  key(kubernetes("kube-proxy"), "v1.37.2", "", "go1.26.8", "amd64"),
		"version":  key(program, "v1.37.3", "", "go1.26.8", "amd64"),
		"sources":  key(program, "v1.37.2", "x", "go1.26.8", "amd64"),
		"compiler": key(program, "v1.37.2", "", "go1.26.9", "amd64"),
		"machine":  key(program, "v1.37.2", "", "go1.26.8", "arm64"),
	} {
		if other == base {
			t.Errorf("another %s has the same key", what)
		}
	}
}

func TestSourcesOf(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(folder, "program", "relay", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	digest := func() string {
		sum, err := sourcesOf(folder, local("relay"))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	write("main.go", "package main")
	first := digest()
	write("main_test.go", "package main")
	if digest() != first {
		t.Error("a test is taken for a source")
	}
	write("main.go", "package main // changed")
	if digest() == first {
		t.Error("a change goes unnoticed")
	}
	if sum, err := sourcesOf(folder, kubernetes("kubelet")); sum != "" || err != nil {
		t.Errorf("sources of another module's program: %q, %v", sum, err)
	}
}
