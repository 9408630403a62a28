package build

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/test/cluster/layout"
)

// Who needs only what is there does not wait for somebody else's build.
func TestEnsureWaitsForNobody(t *testing.T) {
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := Builder{Module: module, Layout: layout.Layout{Root: t.TempDir()}, Out: &out, Clock: time.Now}
	if err := b.Ensure(t.Context(), "pause"); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(filepath.Join(b.Layout.Programs(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Ensure(t.Context(), "pause") }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for another build, though all is there")
	}
	if said := out.String(); strings.Contains(said, "waiting for another build") {
		t.Errorf("it says\n%s", said)
	}
	lock.Close()

	// A link that leads nowhere right is set again.
	if err := os.Remove(b.Layout.Program("pause")); err != nil {
		t.Fatal(err)
	}
	if err := b.Ensure(t.Context(), "pause"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(b.Layout.Program("pause")); err != nil {
		t.Error(err)
	}
}
