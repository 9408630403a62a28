package agent

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

// The stand-in's agent reads what the container can, and says the kernel's own
// words about the rest.
func TestRemoteFiles(t *testing.T) {
	p := newPod(&settings.Config{}, slog.New(slog.DiscardHandler))
	p.root = t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(p.root, "app/sub"), 0o755),
		os.WriteFile(filepath.Join(p.root, "app/data"), []byte("content"), 0o640),
		os.Symlink("data", filepath.Join(p.root, "app/link")),
		unix.Mkfifo(filepath.Join(p.root, "app/pipe"), 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !p.readsFiles() {
		t.Fatal("this kernel resolves no paths")
	}
	ctx := t.Context()
	info, err := p.Look(ctx, "/app/data")
	if err != nil || info.Mode != unix.S_IFREG|0o640 || info.Size != 7 {
		t.Errorf("the file is %+v, %v", info, err)
	}
	if info, err = p.Look(ctx, "/app/link"); err != nil || string(info.Target) != "data" || info.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("the link is %+v, %v", info, err)
	}
	var names []string
	err = p.List(ctx, "/app", func(entry tunnel.Entry) error {
		names = append(names, string(entry.Name))
		return nil
	})
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"data", "link", "pipe", "sub"}) {
		t.Errorf("the list is %q, %v", names, err)
	}
	file, err := p.OpenFile(ctx, "/app/data")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	buffer := make([]byte, 100)
	if n, err := file.ReadAt(buffer, 3); !errors.Is(err, io.EOF) || string(buffer[:n]) != "tent" {
		t.Errorf("read %q, %v", buffer[:n], err)
	}
	for path, want := range map[string]error{
		"/app/nothing": syscall.ENOENT, "/app/data/x": syscall.ENOTDIR, "/app/pipe": syscall.ENXIO, "/app": syscall.EISDIR,
	} {
		if _, err := p.OpenFile(ctx, path); !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", path, err, want)
		}
	}
	p.own = "/app/sub"
	if err := os.WriteFile(filepath.Join(p.root, "app/sub/key"), []byte("the agent's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Change(ctx, tunnel.Change{Op: tunnel.ChangeSymlink, Path: []byte("/app/way"), To: []byte("sub")}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/app/sub", "/app/sub/key", "//app/./sub/key", "/app/way/key"} {
		if _, err := p.Look(ctx, path); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("the agent's own %s: %v", path, err)
		}
		if _, err := p.OpenWrite(ctx, tunnel.Writing{Path: []byte(path), Create: true, Truncate: true}); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("writing the agent's own %s: %v", path, err)
		}
		if _, err := p.Change(ctx, tunnel.Change{Op: tunnel.ChangeRename, Path: []byte("/app/data"), To: []byte(path)}); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("moving something to the agent's own %s: %v", path, err)
		}
	}
	if key, err := os.ReadFile(filepath.Join(p.root, "app/sub/key")); err != nil || string(key) != "the agent's" {
		t.Errorf("the agent's key says %q, %v", key, err)
	}
	if err := p.List(ctx, "/app/data", nil); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("the list of a file: %v", err)
	}
	if space, err := p.Space(ctx, "/app"); err != nil || space.Blocks == 0 || space.BlockSize == 0 {
		t.Errorf("space %+v, %v", space, err)
	}
}

// The stand-in's agent writes what the container could.
func TestWrittenFiles(t *testing.T) {
	p := newPod(&settings.Config{}, slog.New(slog.DiscardHandler))
	p.root = t.TempDir()
	ctx := t.Context()
	if info, err := p.Change(ctx, tunnel.Change{Op: tunnel.ChangeMkdir, Path: []byte("/data"), Mode: 0o755}); err != nil || info.Mode != unix.S_IFDIR|0o755 {
		t.Errorf("the folder is %+v, %v", info, err)
	}
	file, err := p.OpenWrite(ctx, tunnel.Writing{Path: []byte("/data/new"), Create: true, Exclusive: true, Mode: 0o640})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("written"), 0); err != nil {
		t.Error(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.Change(ctx, tunnel.Change{Op: tunnel.ChangeRename, Path: []byte("/data/new"), To: []byte("/data/moved")}); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(p.root, "data/moved")); err != nil || string(text) != "written" {
		t.Errorf("the file says %q, %v", text, err)
	}
	if _, err := p.OpenWrite(ctx, tunnel.Writing{Path: []byte("/data")}); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("the folder: %v", err)
	}
	welcome, err := p.Welcome(ctx)
	if err != nil || !welcome.WritesFiles {
		t.Errorf("the welcome does not speak of writing: %v", err)
	}
}
