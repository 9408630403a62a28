package root

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// The test's own program is also the child that reads, and the container's
// process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "files":
			os.Exit(Main())
		case "container":
			if err := contain(os.Args[2], os.Args[3]); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// contain makes this process one in a container whose root is dir, tells so, and
// stays until its input is closed.
func contain(dir, uid string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	if err := unix.Mount("proc", filepath.Join(dir, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if fixed := filepath.Join(dir, readOnly); unix.Access(fixed, unix.F_OK) == nil {
		for _, more := range []uintptr{0, unix.MS_REMOUNT | unix.MS_RDONLY} {
			if err := unix.Mount(fixed, fixed, "", unix.MS_BIND|more, ""); err != nil {
				return fmt.Errorf("mounting what is read-only: %w", err)
			}
		}
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	id, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups([]int{id}), syscall.Setresgid(id, id, id), syscall.Setresuid(id, id, id)); err != nil {
		return err
	}
	fmt.Println("contained")
	_, err = os.Stdin.Read(make([]byte, 1))
	if err != nil {
		os.Exit(0)
	}
	return err
}

// container is a root that tests plant things in, and a process in it.
type container struct {
	t   *testing.T
	dir string
	// outside is a folder of the node's that nothing may lead to.
	outside string
	pid     int
	process *os.File
	// end ends the process, and waits for that.
	end func()
}

const uid = 12345

// readOnly is a folder of a container that is mounted so.
const readOnly = "read-only"

func newContainer(t *testing.T, uid int) *container {
	t.Helper()
	return newContainerIn(t, uid, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
}

// newContainerIn is one whose process is started in namespaces of its own.
func newContainerIn(t *testing.T, uid int, namespaces *syscall.SysProcAttr) *container {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be in another container's place")
	}
	base, err := os.MkdirTemp("", "root")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, dir: filepath.Join(base, "container"), outside: filepath.Join(base, "node")}
	for _, dir := range []string{c.dir, c.outside, filepath.Join(c.dir, "proc"), filepath.Join(c.dir, readOnly)} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.write(filepath.Join(c.outside, "secret"), "the node's", 0o644)
	cmd := exec.Command("/proc/self/exe", "container", c.dir, strconv.Itoa(uid))
	cmd.SysProcAttr = namespaces
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.end = sync.OnceFunc(func() { stdin.Close(); _ = cmd.Wait() })
	t.Cleanup(c.end)
	said := make([]byte, 200)
	n, _ := stdout.Read(said)
	if string(said[:n]) != "contained\n" {
		t.Fatalf("the container's process says %q", said[:n])
	}
	c.pid = cmd.Process.Pid
	if c.process, err = Process(c.pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.process.Close() })
	return c
}

func (c *container) write(path, text string, mode fs.FileMode) {
	c.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.dir, path)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) link(target, path string) {
	c.t.Helper()
	path = filepath.Join(c.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) reader() *Reader {
	c.t.Helper()
	r, err := Open(c.process)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { r.Close() })
	return r
}

// Nothing that the container's processes plant leads out of their root, or to
// what they could not read themselves.
func TestPlanted(t *testing.T) {
	c := newContainer(t, uid)
	secret := filepath.Join(c.outside, "secret")
	c.write("etc/hosts", "the container's", 0o644)
	c.link("/etc/hosts", "absolute")
	c.link(secret, "to-the-node")
	c.link(strings.Repeat("../", 40)+secret[1:], "relative")
	c.link(c.outside, "folder")
	c.link(rootOf("self")+secret, "magic")
	c.link(fmt.Sprintf("/proc/%d/root%s", os.Getpid(), secret), "magic-of-another")
	c.link("loop", "loop")
	c.write("private", "root's own", 0o600)
	if err := unix.Mkfifo(filepath.Join(c.dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	device := filepath.Join(c.dir, "device")
	if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Logf("no device could be planted: %v", err)
		c.write("device", "", 0)
	}
	r := c.reader()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, path := range []string{"/etc/hosts", "etc/hosts", "/absolute", "/../../etc/hosts"} {
		if got, err := r.File(ctx, path); err != nil || string(got.Data) != "the container's" {
			t.Errorf("%s: %q, %v", path, got.Data, err)
		}
	}
	for _, path := range []string{
		"/to-the-node", "/relative", "/folder/secret", "/magic", "/magic-of-another", "/loop", "/private", "/pipe", "/device",
		rootOf("self") + secret, rootOf("1") + "/etc/hostname", "/proc/self/exe", secret, "/", "/nothing",
	} {
		got, err := r.File(ctx, path)
		if err == nil {
			t.Errorf("%s was read: %q", path, got.Data)
		}
		if _, err := r.OpenFile(ctx, path); err == nil {
			t.Errorf("%s was opened", path)
		}
		if data, err := r.Part(ctx, path, tunnel.FileInfo{}, 0, 100); err == nil {
			t.Errorf("of %s %q was read", path, data)
		}
		if r.Lost() {
			t.Fatalf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"/folder", "/folder/secret", "/magic/x"} {
		if entries, err := r.List(ctx, path); err == nil {
			t.Errorf("in %s there is %+v", path, entries)
		}
	}
	if info, err := r.Look(ctx, "/to-the-node"); err != nil || string(info.Target) != secret {
		t.Errorf("the link is %+v, %v", info, err)
	}
	if _, err := r.Look(ctx, "/folder/secret"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("through a link to the node: %v", err)
	}
	if _, err := r.OpenFile(ctx, "/private"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("of a file that is root's: %v", err)
	}
	if _, err := r.File(ctx, "/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
	// As root in the container it may read what is root's.
	if got, err := newContainerOf(c, 0).File(ctx, "/private"); err != nil || string(got.Data) != "root's own" {
		t.Errorf("for root: %q, %v", got.Data, err)
	}
}

// newContainerOf is a reader of another process in a root of the same content.
func newContainerOf(c *container, uid int) *Reader {
	c.t.Helper()
	other := newContainer(c.t, uid)
	other.write("private", "root's own", 0o600)
	return other.reader()
}

// A folder that is swapped for a link while it is read never leads out.
func TestSwapped(t *testing.T) {
	c := newContainer(t, uid)
	c.write("real/secret", "the container's", 0o644)
	c.link(c.outside, "planted")
	c.link("real", "folder")
	swapped, done := make(chan error, 1), make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				swapped <- nil
				return
			default:
			}
			next := filepath.Join(c.dir, "next")
			to := []string{"real", c.outside, strings.Repeat("../", 30) + c.outside[1:]}[i%3]
			if err := errors.Join(os.Symlink(to, next), os.Rename(next, filepath.Join(c.dir, "folder"))); err != nil {
				swapped <- err
				return
			}
		}
	}()
	r := c.reader()
	read := 0
	for range 2000 {
		got, err := r.File(t.Context(), "/folder/secret")
		if err == nil && string(got.Data) != "the container's" {
			t.Fatalf("read %q", got.Data)
		}
		if err == nil {
			read++
		}
		if _, err := r.Tree(t.Context(), "/folder", func(f tunnel.File) error {
			if string(f.Data) != "the container's" {
				return fmt.Errorf("read %q", f.Data)
			}
			return nil
		}); err != nil && strings.Contains(err.Error(), "the node's") {
			t.Fatal(err)
		}
	}
	close(done)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if read == 0 {
		t.Error("never read anything: the race was not run")
	}
}

// A file that is read in parts is one and the same.
func TestParts(t *testing.T) {
	c := newContainer(t, uid)
	c.write("data", strings.Repeat("0123456789", 5000), 0o644)
	r := c.reader()
	opened, err := r.OpenFile(t.Context(), "/data")
	if err != nil || opened.Size != 50000 {
		t.Fatalf("opened as %+v, %v", opened, err)
	}
	data, err := r.Part(t.Context(), "/data", opened, 49995, 100)
	if err != nil || string(data) != "56789" {
		t.Errorf("the last part is %q, %v", data, err)
	}
	if data, err = r.Part(t.Context(), "/data", opened, 0, 1<<20); err != nil || len(data) != maxPart {
		t.Errorf("a part has %d bytes, %v", len(data), err)
	}
	if data, err = r.Part(t.Context(), "/data", opened, 50000, 100); err != nil || len(data) != 0 {
		t.Errorf("at the end there is %q, %v", data, err)
	}
	c.write("other", "another", 0o644)
	if err := os.Rename(filepath.Join(c.dir, "other"), filepath.Join(c.dir, "data")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Part(t.Context(), "/data", opened, 0, 100); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("of another file of the name: %v", err)
	}
	for i := range listStep + 10 {
		c.write(fmt.Sprintf("many/%d", i), "", 0o644)
	}
	if entries, err := r.List(t.Context(), "/many"); err != nil || len(entries) != listStep+10 {
		t.Errorf("listed %d, %v", len(entries), err)
	}
	if _, err := r.Space(t.Context(), "/many"); err != nil {
		t.Error(err)
	}
}

// A volume as the kubelet makes it.
func TestTree(t *testing.T) {
	c := newContainer(t, uid)
	c.write("vol/..v1/password", "one", 0o640)
	if err := os.Chown(filepath.Join(c.dir, "vol/..v1/password"), 0, uid); err != nil {
		t.Fatal(err)
	}
	c.link("..v1", "vol/..data")
	c.link("..data/password", "vol/password")
	c.write("single", "file", 0o644)
	r := c.reader()
	files := map[string]string{}
	version, err := r.Tree(t.Context(), "/vol", func(f tunnel.File) error {
		files[f.Path] = string(f.Data)
		return nil
	})
	if err != nil || version != "..v1" || len(files) != 1 || files["password"] != "one" {
		t.Errorf("read %v of version %q: %v", files, version, err)
	}
	mount, err := r.Mount(t.Context(), "/single")
	if err != nil || !mount.File || mount.Version == "" {
		t.Errorf("the single file is %+v, %v", mount, err)
	}
	if _, err := r.Tree(t.Context(), "/nothing", nil); !errors.Is(err, tunnel.ErrNotFound) {
		t.Errorf("of a mount that is not there: %v", err)
	}
	again, err := r.Mount(t.Context(), "/single")
	if err != nil || again != mount {
		t.Errorf("unchanged it is %+v, %v", again, err)
	}
	c.write("single", "another content", 0o644)
	if again, err = r.Mount(t.Context(), "/single"); err != nil || again.Version == mount.Version {
		t.Errorf("changed it is %+v, %v", again, err)
	}
}

func TestIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	text := "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapEff:\t00000000a80425fb\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := identityOf(path)
	if err != nil || id.uid != 4 || id.gid != 8 || fmt.Sprint(id.groups) != "[9 10]" || id.caps != 0xa80425fb {
		t.Errorf("got %+v, %v", id, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(text, "CapEff", "CapNone", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := identityOf(path); err == nil {
		t.Errorf("of a status without capabilities: %+v", id)
	}
}

// rootOf is the link of the kernel's that leads out of a root folder: to the one
// of the process.
func rootOf(process string) string { return "/proc/" + process + "/root" }
