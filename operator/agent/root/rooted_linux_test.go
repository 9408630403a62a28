package root

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Even for a reader that has stayed where it is, with all its rights, no link
// leads out of the root: the resolution alone sees to it.
func TestResolvedWithinTheRoot(t *testing.T) {
	base := t.TempDir()
	dir, outside := filepath.Join(base, "container"), filepath.Join(base, "node")
	secret := filepath.Join(outside, "secret")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(outside, 0o755), os.WriteFile(secret, []byte("the node's"), 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	own, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	// A mount of /proc in the container, as every one has.
	if err := os.Symlink("/proc/self/root", filepath.Join(dir, "magic")); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"absolute": secret, "relative": "../node/secret", "high": strings.Repeat("../", 40) + secret[1:], "folder": outside,
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := rooted{root: root, own: own}
	for _, path := range []string{"absolute", "relative", "high", "folder/secret", "../node/secret", "/../node/secret", "magic" + secret} {
		if got, err := r.readFile(path); err == nil {
			t.Errorf("%s leads to %q", path, got.Data)
		}
	}
	// The same root with /proc in it: its links jump anywhere.
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(proc)
	if got, err := (rooted{root: proc, own: own}).readFile("/self/root" + secret); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link of /proc leads to %q, %v", got.Data, err)
	}
}
