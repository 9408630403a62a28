package freezetest

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Process is one that counts what it does.
type Process struct {
	Cmd *exec.Cmd
	// Out is what it prints, line by line as it is read.
	Out  io.Reader
	page []byte
}

// Start starts a process in a role, in the cgroups given. When it returns the
// process has counted.
func (p *Pod) Start(role string, dirs map[int]string, env ...string) *Process {
	p.t.Helper()
	return Start(p.t, role, slices.Collect(maps.Values(dirs)), env...)
}

// Start is as Pod.Start, for one that may be in no pod.
func Start(t testing.TB, role string, dirs []string, env ...string) *Process {
	t.Helper()
	started := Launch(t, role, dirs, env...)
	started.awaitCount(t, role)
	return started
}

func (p *Process) awaitCount(t testing.TB, role string) {
	t.Helper()
	Until(t, "process "+role+" counts", func() bool { return p.Count() > 0 })
}

// Launch is as Start, but does not wait.
func Launch(t testing.TB, role string, dirs []string, env ...string) *Process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "count")
	if err := os.WriteFile(file, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := mapFile(file)
	if err != nil {
		t.Fatal(err)
	}
	started := &Process{Cmd: exec.Command("/proc/self/exe"), page: page}
	started.Cmd.Env = append(os.Environ(),
		// No signals of Go's own, which would stop what is traced.
		"GODEBUG=asyncpreemptoff=1",
		roleVariable+"="+role, joinVariable+"="+strings.Join(dirs, ":"), fileVariable+"="+file)
	started.Cmd.Env = append(started.Cmd.Env, env...)
	started.Cmd.Stderr = os.Stderr
	// It ends when this is closed: with the test's process at the latest.
	stdin, err := started.Cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if started.Out, err = started.Cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := started.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range dirs {
			ThawTree(dir)
		}
		stdin.Close()
		_ = started.Cmd.Process.Kill()
		_ = started.Cmd.Wait() // not before: a wait would take what a tracer waits for
		_ = unix.Munmap(page)
	})
	return started
}

// PID of the process.
func (p *Process) PID() int { return p.Cmd.Process.Pid }

// Count is how often it has done what it does.
func (p *Process) Count() uint64 { return counter(p.page).Load() }

// Moves waits until the process is seen to do something.
func (p *Pod) Moves(process *Process) {
	p.t.Helper()
	before := process.Count()
	Until(p.t, "the process goes on", func() bool { return process.Count() > before+2 })
}

// Still fails if the process does anything while another does much.
func (p *Pod) Still(process *Process) {
	p.t.Helper()
	if p.control == nil {
		p.control = p.Start("count", nil)
	}
	before, control := process.Count(), p.control.Count()
	Until(p.t, "the process outside counts", func() bool { return p.control.Count() > control+40 })
	if after := process.Count(); after != before {
		p.t.Fatalf("the process has counted from %d to %d while it was frozen", before, after)
	}
}

func mapFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// counter is the number at the beginning of a page that two processes share.
func counter(page []byte) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&page[0])) }
