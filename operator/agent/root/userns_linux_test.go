package root

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/tunnel"
)

// mapped is who root of a container with a user namespace is on the node.
const mapped = 200000

// Root of a user namespace may do on the node what its user there may: its
// capabilities are worth nothing to what is the node's root's.
func TestUserNamespace(t *testing.T) {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: mapped, Size: 65536}}
	c := newContainerIn(t, 0, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{},
	})
	c.write("private", "root's own", 0o600)
	c.write("folder/private", "root's own", 0o600)
	c.write("own", "the container's", 0o600)
	if err := os.Chown(filepath.Join(c.dir, "own"), mapped, mapped); err != nil {
		t.Fatal(err)
	}
	c.home(mapped)
	r, ctx := c.reader(), t.Context()

	if got, err := r.File(ctx, "/private"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("of a file that is the node's root's it reads %q, %v", got.Data, err)
	}
	if _, err := r.OpenFile(ctx, "/private"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a file that is the node's root's is opened: %v", err)
	}
	w := outer{r}
	if err := w.write(ctx, tunnel.Writing{Path: []byte("/private")}, "planted", 0); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a file that is the node's root's is written: %v", err)
	}
	for _, change := range []tunnel.Change{
		{Op: tunnel.ChangeChmod, Path: []byte("/private"), Mode: 0o666},
		{Op: tunnel.ChangeTruncate, Path: []byte("/private")},
		{Op: tunnel.ChangeUnlink, Path: []byte("/folder/private")},
		{Op: tunnel.ChangeRename, Path: []byte("/own"), To: []byte("/folder/private")},
		{Op: tunnel.ChangeMkdir, Path: []byte("/folder/new"), Mode: 0o755},
	} {
		if _, err := r.Change(ctx, change); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s of what is the node's root's: %v", change.Op, err)
		}
	}
	for _, name := range []string{"private", "folder/private"} {
		if data, err := os.ReadFile(filepath.Join(c.dir, name)); err != nil || string(data) != "root's own" {
			t.Errorf("%s says %q, %v", name, data, err)
		}
	}

	if got, err := r.File(ctx, "/own"); err != nil || string(got.Data) != "the container's" {
		t.Errorf("of its own file it reads %q, %v", got.Data, err)
	}
	if err := w.write(ctx, tunnel.Writing{Path: []byte("/home/new"), Create: true, Mode: 0o600}, "written", 0); err != nil {
		t.Errorf("in its own folder: %v", err)
	}
	info, err := os.Stat(filepath.Join(c.dir, "home/new"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != mapped {
		t.Errorf("what it has made is user %d's", owner)
	}
}
