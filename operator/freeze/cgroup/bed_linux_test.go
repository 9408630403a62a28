package cgroup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The test's binary is also the processes that it freezes.
const (
	roleVariable = "CGROUP_TEST_ROLE"
	joinVariable = "CGROUP_TEST_JOIN" // cgroup directories, separated by colons
	fileVariable = "CGROUP_TEST_FILE" // where it counts
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	os.Exit(m.Run())
}

// play is a process that counts what it does in a file, as long as it can.
func play(role string) int {
	for dir := range strings.SplitSeq(os.Getenv(joinVariable), ":") {
		if dir == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	f, err := os.OpenFile(os.Getenv(fileVariable), os.O_RDWR, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	page, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	count := func() { counter(page).Add(1) }
	switch role {
	case "count":
		for {
			count()
			time.Sleep(time.Millisecond)
		}
	case "threads":
		for range 200 {
			go func() {
				runtime.LockOSThread()
				for {
					count()
					_ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
				}
			}()
		}
	case "fork":
		// Four that make processes as fast as they can; each of those counts too.
		for range 4 {
			go func() {
				for {
					cmd := exec.Command("/bin/true")
					if err := cmd.Start(); err != nil {
						continue
					}
					count()
					_ = cmd.Wait()
				}
			}()
		}
	case "hang":
		if err := hang(count); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	select {}
}

// hang sleeps where nothing but the process's end wakes it, like who waits for a
// file system of a network that is gone: in a write of memory whose content
// somebody else was to bring, who does not.
func hang(begun func()) error {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	memory, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	const uffdioAPI, uffdioRegister, missing = 0xc018aa3f, 0xc020aa00, 1
	api := [3]uint64{0xaa}
	register := [4]uint64{uint64(uintptr(unsafe.Pointer(&memory[0]))), uint64(len(memory)), missing}
	if _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&api))); errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uffdioRegister, uintptr(unsafe.Pointer(&register)))
	}
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	begun()
	_, err = unix.Write(pipe[1], memory)
	return fmt.Errorf("the write has ended: %w", err)
}

// counter is the number at the beginning of a page that two processes share.
func counter(page []byte) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&page[0])) }

// bed is a pod with one container on this machine, in the hierarchies wanted.
type bed struct {
	t         testing.TB
	container Container
	node      Node
	// dirs of the container's cgroup.
	dirs map[Version]string
	// control counts outside of it, to tell standing still from being slow.
	control *player
}

// needRoot skips; where everything else is there it must not be skipped unseen.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: making cgroups needs root")
	}
}

// roots of the hierarchies that can freeze on this machine.
func roots(t testing.TB) map[Version]string {
	t.Helper()
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	found := map[Version]string{}
	for _, m := range parseMounts(string(mountinfo)) {
		if _, has := found[m.version]; !has && m.freezes {
			found[m.version] = m.point
		}
	}
	return found
}

// makeBed makes a pod's cgroups; the test is skipped if the machine has not got
// one of the versions.
func makeBed(t testing.TB, versions ...Version) *bed {
	t.Helper()
	needRoot(t)
	b := &bed{
		t:         t,
		container: Container{PodUID: randomUID(), ID: randomHex(32)},
		dirs:      map[Version]string{},
	}
	for _, v := range versions {
		root, ok := roots(t)[v]
		if !ok {
			t.Skipf("SKIPPED: this machine has no cgroup %v hierarchy that can freeze", v)
		}
		top := filepath.Join(root, "understudy-test-"+randomHex(4))
		dir := filepath.Join(top, "kubepods", "pod"+b.container.PodUID, b.container.ID)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		b.dirs[v] = dir
		t.Cleanup(func() { clearTree(t, top) })
	}
	return b
}

func (b *bed) find() *Group {
	b.t.Helper()
	g, err := b.node.Find(b.container)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { g.Close() })
	return g
}

// player is a process that counts.
type player struct {
	cmd  *exec.Cmd
	page []byte
}

// start starts a process in the container, or below it, or nowhere.
func (b *bed) start(role string, dirs map[Version]string, env ...string) *player {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "count")
	if err := os.WriteFile(file, make([]byte, os.Getpagesize()), 0o600); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.t.Fatal(err)
	}
	var join []string
	for _, dir := range dirs {
		join = append(join, dir)
	}
	p := &player{cmd: exec.Command("/proc/self/exe"), page: page}
	// No signals of Go's own, which would stop what is traced.
	p.cmd.Env = append(os.Environ(), append(env, "GODEBUG=asyncpreemptoff=1", roleVariable+"="+role, joinVariable+"="+strings.Join(join, ":"), fileVariable+"="+file)...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		for _, dir := range b.dirs {
			thawTree(dir)
		}
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // not before: a wait would take what a tracer waits for
		_ = unix.Munmap(page)
	})
	until(b.t, "the process counts", func() bool { return p.count() > 0 })
	return p
}

func (p *player) count() uint64 { return counter(p.page).Load() }

// moves waits until the process is seen to do something.
func (b *bed) moves(p *player) {
	b.t.Helper()
	before := p.count()
	until(b.t, "the process goes on", func() bool { return p.count() > before+2 })
}

// still fails if the process does anything while another does much.
func (b *bed) still(p *player) {
	b.t.Helper()
	if b.control == nil {
		b.control = b.start("count", nil)
	}
	before, control := p.count(), b.control.count()
	until(b.t, "the process outside counts", func() bool { return b.control.count() > control+40 })
	if after := p.count(); after != before {
		b.t.Fatalf("the process has counted from %d to %d while it was frozen", before, after)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// thawTree thaws what is below dir, by hand.
func thawTree(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			put(filepath.Join(path, "cgroup.freeze"), "0")
			put(filepath.Join(path, "freezer.state"), "THAWED")
		}
		return nil
	})
}

// put writes to a file of a cgroup if there is one.
func put(path, value string) {
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(value)
		f.Close()
	}
}

// clearTree ends all that is in there and removes it.
func clearTree(t testing.TB, top string) {
	thawTree(top)
	until(t, "the test's cgroups are empty", func() bool {
		left := false
		_ = filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.Name() != "cgroup.procs" {
				return nil
			}
			procs, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			for _, pid := range strings.Fields(string(procs)) {
				left = true
				if n, err := strconv.Atoi(pid); err == nil && n > 1 {
					_ = unix.Kill(n, unix.SIGKILL)
				}
			}
			return nil
		})
		return !left
	})
	until(t, "the test's cgroups can be removed", func() bool { return removeTree(top) })
}

func removeTree(top string) bool {
	entries, err := os.ReadDir(top)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeTree(filepath.Join(top, entry.Name()))
		}
	}
	return unix.Rmdir(top) == nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func randomUID() string {
	h := randomHex(16)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
