package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestWrite(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "program")
	writeProgram(t, program)
	root := filepath.Join(folder, "root")
	if err := os.MkdirAll(filepath.Join(root, "usr", "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeProgram(t, filepath.Join(root, "usr", "lib", "b"))
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Name:       "example.com/a:dev",
		Root:       root,
		Files:      map[string]string{"/usr/bin/a": program},
		Folders:    []string{"/tmp"},
		Entrypoint: []string{"/usr/bin/a"},
		Command:    []string{"run"},
		Env:        []string{"A=b"},
		Labels:     map[string]string{"l": "m"},
	}
	archive := filepath.Join(folder, "a.tar")
	if err := Write(spec, archive); err != nil {
		t.Fatal(err)
	}
	if name, err := Name(archive); err != nil || name != spec.Name {
		t.Errorf("the archive's name is %q, error %v", name, err)
	}
	made, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := made.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := file.Config
	if config.User != "65532" || config.WorkingDir != "/" || config.Labels["l"] != "m" ||
		!slices.Equal(config.Entrypoint, spec.Entrypoint) || !slices.Equal(config.Cmd, spec.Command) || !slices.Contains(config.Env, "A=b") {
		t.Errorf("configuration %+v", config)
	}
	layers, err := made.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, error %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var got []string
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(header.FileInfo().Mode().String()+" "+header.Name+" "+header.Linkname))
		if header.Uid != 0 || header.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", header.Name, header.Uid, header.Gid)
		}
	}
	want := []string{
		"Lrwxrwxrwx lib usr/lib", "dtrwxrwxrwx tmp/", "drwxr-xr-x usr/", "drwxr-xr-x usr/bin/", "-rwxr-xr-x usr/bin/a",
		"drwxr-xr-x usr/lib/", "-rwxr-xr-x usr/lib/b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("layer\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	again := filepath.Join(folder, "b.tar")
	if err := Write(spec, again); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same input gave two different archives")
	}
}

func TestWriteRefuses(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for what, spec := range map[string]Spec{
		"a name without a tag":     {Name: "example.com/a", Files: map[string]string{"/a": program}},
		"a relative path":          {Name: "example.com/a:b", Files: map[string]string{"a": program}},
		"a relative folder":        {Name: "example.com/a:b", Folders: []string{"tmp"}},
		"a file that is not there": {Name: "example.com/a:b", Files: map[string]string{"/a": program + "x"}},
	} {
		archive := filepath.Join(t.TempDir(), "a.tar")
		if err := Write(spec, archive); err == nil {
			t.Errorf("%s: no error", what)
		}
		if _, err := os.Stat(archive); err == nil {
			t.Errorf("%s: an archive was left", what)
		}
	}
}

// writeProgram makes a file that may be executed.
func writeProgram(t *testing.T, at string) {
	t.Helper()
	if err := os.WriteFile(at, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
}
