package image

import (
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// What was pushed can be pulled by its name, and is what was made.
func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials

	folder := t.TempDir()
	archive := filepath.Join(folder, "a.tar")
	program := filepath.Join(folder, "program")
	writeProgram(t, program)
	if err := Write(Spec{Name: "example.com/a:dev", Files: map[string]string{"/a": program}}, archive); err != nil {
		t.Fatal(err)
	}
	as := strings.TrimPrefix(server.URL, "http://") + "/team/a:1"
	for _, want := range []bool{true, false} {
		pushed, err := Push(t.Context(), archive, as)
		if err != nil {
			t.Fatal(err)
		}
		if pushed != want {
			t.Errorf("pushed: %t, want %t; the second time it is there already", pushed, want)
		}
	}
	tag, err := parse(as)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	file, err := pulled.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.OS != "linux" || file.Config.User != "65532" {
		t.Errorf("pulled a configuration of os %q, user %q; want linux, 65532", file.OS, file.Config.User)
	}
}

func TestNamesThatAreNotFull(t *testing.T) {
	for _, name := range []string{"a", "a:dev", "team/a:dev", "example.com/a"} {
		if _, err := Push(t.Context(), "/no/such/file", name); err == nil || !strings.Contains(err.Error(), "as example.com/worker:dev is") {
			t.Errorf("pushing as %q: %v; want an error that says what a full name is", name, err)
		}
	}
}
