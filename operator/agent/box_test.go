package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// boxVariable names, in the environment of this test program, the cgroup in
// which it is to become the program of its arguments.
const boxVariable = "UNDERSTUDY_TEST_BOX"

// box is a memory cgroup with a limit, as a container has it: whoever runs in
// it sees it where a container sees its own.
type box struct {
	dir string
	v2  bool
}

// newBox makes one; the error says why this machine has none for us.
func newBox(t testing.TB, limit int) (*box, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("not root: no memory cgroup can be made")
	}
	// v1, alone or beside v2, before v2: where v1 has the memory controller, v2
	// has none.
	for _, b := range []*box{{dir: "/sys/fs/cgroup/memory"}, {dir: "/sys/fs/cgroup", v2: true}} {
		root := b.dir
		if b.v2 {
			// Refused where this is no root and has processes in it.
			_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0)
		}
		b.dir = filepath.Join(root, fmt.Sprintf("understudy-agent-%d", os.Getpid()))
		if os.Mkdir(b.dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(b.file("memory.limit_in_bytes", "memory.max")); err != nil {
			os.Remove(b.dir)
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(b.dir); err != nil {
				t.Errorf("the cgroup is left: %v", err)
			}
		})
		if err := os.WriteFile(b.file("memory.limit_in_bytes", "memory.max"), []byte(strconv.Itoa(limit)), 0); err != nil {
			t.Fatal(err)
		}
		// Not every machine counts swap; a node has none for containers.
		_ = os.WriteFile(b.file("memory.memsw.limit_in_bytes", "memory.swap.max"), []byte(map[bool]string{false: strconv.Itoa(limit), true: "0"}[b.v2]), 0)
		return b, nil
	}
	return nil, errors.New("this machine has no memory cgroup to make another in")
}

func (b *box) file(v1, v2 string) string {
	if b.v2 {
		return filepath.Join(b.dir, v2)
	}
	return filepath.Join(b.dir, v1)
}

// put makes cmd run in the box.
func (b *box) put(t testing.TB, cmd *exec.Cmd) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = self
	cmd.Env = append(cmd.Env, boxVariable+"="+b.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// enterBox makes this process the program of its arguments, in the box.
func enterBox(dir string) error {
	mount := filepath.Dir(dir)
	err := errors.Join(
		os.Unsetenv(boxVariable),
		os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0),
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount(dir, mount, "", syscall.MS_BIND, ""))
	if err != nil {
		return fmt.Errorf("entering %s: %w", dir, err)
	}
	return syscall.Exec(os.Args[0], os.Args, os.Environ())
}

// killed is how many processes of the box were killed for want of memory.
func (b *box) killed(t testing.TB) int {
	content, err := os.ReadFile(b.file("memory.oom_control", "memory.events"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), "oom_kill ")
	var count int
	if _, err := fmt.Sscan(rest, &count); err != nil {
		t.Fatal(err)
	}
	return count
}

// most is what was used at most, as text for the log; "?" on old kernels.
func (b *box) most() string {
	content, err := os.ReadFile(b.file("memory.max_usage_in_bytes", "memory.peak"))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(content))
}
