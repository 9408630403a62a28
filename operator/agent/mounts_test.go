package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

// volume is a mounted volume as the kubelet writes it: a folder for each
// version, a link to the one of now, and links to the files through it.
type volume struct {
	t   *testing.T
	dir string
}

func (v volume) write(version string, files map[string]string) {
	v.t.Helper()
	for name, content := range files {
		path := filepath.Join(v.dir, version, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o640)); err != nil {
			v.t.Fatal(err)
		}
		top := filepath.Join(v.dir, name)
		if filepath.Dir(name) != "." {
			top = filepath.Join(v.dir, filepath.Dir(name))
			name = filepath.Dir(name)
		}
		if err := os.Symlink(filepath.Join(dataLink, name), top); err != nil && !errors.Is(err, os.ErrExist) {
			v.t.Fatal(err)
		}
	}
	next := filepath.Join(v.dir, "..data_tmp")
	if err := errors.Join(os.Symlink(version, next), os.Rename(next, filepath.Join(v.dir, dataLink))); err != nil {
		v.t.Fatal(err)
	}
}

func readAll(p *pod, mount string, during func()) (map[string]string, string, error) {
	files := map[string]string{}
	version, err := p.ReadTree(context.Background(), mount, func(f tunnel.File) error {
		files[f.Path] = string(f.Data)
		if during != nil {
			during()
		}
		return nil
	})
	return files, version, err
}

func TestReadTreeOfVolume(t *testing.T) {
	root := filesystem(t, nil)
	v := volume{t, filepath.Join(root, "etc/config")}
	v.write("..v1", map[string]string{"a": "1", "sub/b": "2", ".hidden": "3"})
	p := testPod(t, root, settings.Config{Mounts: []string{"/etc/config", "/etc/absent"}})

	want := []tunnel.Mount{{Path: "/etc/config", Version: "..v1"}}
	if diff := cmp.Diff(want, p.mounts()); diff != "" {
		t.Error(diff)
	}
	files, version, err := readAll(p, "/etc/config", nil)
	if diff := cmp.Diff(map[string]string{"a": "1", "sub/b": "2", ".hidden": "3"}, files); diff != "" || version != "..v1" || err != nil {
		t.Errorf("version %q, %v\n%s", version, err, diff)
	}
	if _, _, err := readAll(p, "/etc/absent", nil); !errors.Is(err, tunnel.ErrNotFound) {
		t.Errorf("a mount that is not there: %v", err)
	}
	if _, _, err := readAll(p, "/etc", nil); !errors.Is(err, tunnel.ErrNotFound) {
		t.Errorf("a folder that is no mount: %v", err)
	}
	if _, _, err := readAll(p, "/etc/config/../../proc", nil); !errors.Is(err, tunnel.ErrNotFound) {
		t.Errorf("a way out of a mount: %v", err)
	}
}

// The kubelet replaces the content in the middle of a read.
func TestReadTreeNeverMixesVersions(t *testing.T) {
	root := filesystem(t, nil)
	v := volume{t, filepath.Join(root, "etc/config")}
	v.write("..v1", map[string]string{"a": "1", "b": "1"})
	p := testPod(t, root, settings.Config{Mounts: []string{"/etc/config"}})
	swapped := false
	_, _, err := readAll(p, "/etc/config", func() {
		if !swapped {
			swapped = true
			v.write("..v2", map[string]string{"a": "2", "b": "2"})
			if err := os.RemoveAll(filepath.Join(v.dir, "..v1")); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !errors.Is(err, tunnel.ErrChanging) {
		t.Errorf("a torn read: %v", err)
	}
	files, version, err := readAll(p, "/etc/config", nil)
	if files["a"] != "2" || files["b"] != "2" || version != "..v2" || err != nil {
		t.Errorf("%v of version %q, %v", files, version, err)
	}
}

func TestReadTreeOfFile(t *testing.T) {
	root := filesystem(t, map[string]string{"app/settings.ini": "x=1"})
	p := testPod(t, root, settings.Config{Mounts: []string{"/app/settings.ini"}})
	mounts := p.mounts()
	if len(mounts) != 1 || !mounts[0].File || mounts[0].Version == "" {
		t.Fatalf("got %+v", mounts)
	}
	files, version, err := readAll(p, "/app/settings.ini", nil)
	if diff := cmp.Diff(map[string]string{".": "x=1"}, files); diff != "" || version != mounts[0].Version || err != nil {
		t.Errorf("version %q, %v\n%s", version, err, diff)
	}
	if err := os.WriteFile(filepath.Join(root, "app/settings.ini"), []byte("x=22"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := p.mounts(); again[0].Version == version {
		t.Error("the version stays the same")
	}
}

func TestReadTreeTooLarge(t *testing.T) {
	root := filesystem(t, map[string]string{"big/f": string(make([]byte, tunnel.MaxFileSize+1))})
	p := testPod(t, root, settings.Config{Mounts: []string{"/big"}})
	if _, _, err := readAll(p, "/big", nil); !errors.Is(err, tunnel.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
