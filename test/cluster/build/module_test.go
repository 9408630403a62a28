package build

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestModuleKeepsItsFiles(t *testing.T) {
	source, folder := t.TempDir(), Files(filepath.Join(t.TempDir(), "program"))
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(path), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(source, "crd", "a.yaml"))
	write(filepath.Join(source, "crd", "b.yaml"))
	write(filepath.Join(source, "crd", "README"))
	write(filepath.Join(folder, "of-an-older-version.yaml"))
	m := Module{Path: "example.com/m", Files: "crd/*.yaml"}
	for range 2 { // again over what is there
		if err := m.keepFiles(source, folder); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"a.yaml", "b.yaml"}; !slices.Equal(names, want) {
		t.Errorf("kept %v, want %v", names, want)
	}
	m.Files = "crds/*.yaml"
	if err := m.keepFiles(source, folder); err == nil {
		t.Error("a pattern that finds nothing goes unnoticed")
	}
}

func TestModuleIsMetByItsOwnProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !(Module{Path: module}).metBy(self) {
		t.Error("a program of this module is not taken for one")
	}
	if (Module{Path: "example.com/m"}).metBy(self) {
		t.Error("a program of this module is taken for another's")
	}
	if (Module{Path: module}).metBy(self + "-missing") {
		t.Error("a program that is not there is taken for built")
	}
}

func TestModulesKeyChangesWithItsFiles(t *testing.T) {
	sum := func(m Module) string {
		sources, err := sourcesOf("", Program{Package: m.Path + "/cmd", Module: &m})
		if err != nil {
			t.Fatal(err)
		}
		return sources
	}
	base := Module{Path: "example.com/m", Sum: "h1:a", Files: "*.yaml"}
	files, content, variant := base, base, base
	files.Files, content.Sum, variant.Variant = "*.json", "h1:b", "less"
	if sum(base) == sum(files) || sum(base) == sum(content) || sum(base) == sum(variant) {
		t.Error("another module has the same sources")
	}
}
