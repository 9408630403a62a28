package freezetest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Pod is one with a container on this machine, in the hierarchies wanted.
type Pod struct {
	t testing.TB
	// UID of the pod, ID of its container.
	UID, ID string
	// Dirs are the container's cgroups by version.
	Dirs map[int]string
	// control counts outside of it, to tell standing still from being slow.
	control *Process
}

// NeedRoot skips, and is seen to.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: making cgroups and namespaces needs root")
	}
}

// Root is where the hierarchy of a version that can freeze is mounted; the test
// is skipped if the machine has none.
func Root(t testing.TB, version int) string {
	t.Helper()
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mountinfo)) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 6 || len(what) < 3 || where[3] != "/" {
			continue
		}
		v1 := what[0] == "cgroup" && slices.Contains(strings.Split(what[2], ","), "freezer")
		if version == 1 && v1 || version == 2 && what[0] == "cgroup2" {
			return where[4]
		}
	}
	t.Skipf("SKIPPED: this machine has no cgroup v%d hierarchy that can freeze", version)
	return ""
}

// NewPod makes the cgroups of a pod with a container. All that is in there is
// ended, and they are removed, when the test ends.
func NewPod(t testing.TB, versions ...int) *Pod {
	t.Helper()
	NeedRoot(t)
	p := &Pod{t: t, UID: randomUID(), ID: randomHex(32), Dirs: map[int]string{}}
	for _, v := range versions {
		top := filepath.Join(Root(t, v), "understudy-test-"+randomHex(4))
		dir := filepath.Join(top, "kubepods", "pod"+p.UID, p.ID)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		p.Dirs[v] = dir
		t.Cleanup(func() { clearTree(t, top) })
	}
	return p
}

// Another makes the cgroups of another container in the pod, and returns its ID.
func (p *Pod) Another() (id string, dirs map[int]string) {
	p.t.Helper()
	id, dirs = randomHex(32), map[int]string{}
	for v, dir := range p.Dirs {
		dirs[v] = filepath.Join(filepath.Dir(dir), id)
		if err := os.Mkdir(dirs[v], 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	return id, dirs
}

// Until waits for a condition.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// ThawTree thaws what is below dir, by hand.
func ThawTree(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			Put(filepath.Join(path, "cgroup.freeze"), "0")
			Put(filepath.Join(path, "freezer.state"), "THAWED")
		}
		return nil
	})
}

// Put writes to a file of a cgroup if there is one.
func Put(path, value string) {
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(value)
		f.Close()
	}
}

// clearTree ends all that is in there and removes it.
func clearTree(t testing.TB, top string) {
	ThawTree(top)
	Until(t, "the test's cgroups are empty", func() bool {
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
	Until(t, "the test's cgroups can be removed", func() bool { return RemoveTree(top) })
}

// RemoveTree removes a cgroup with those below it; false as long as it cannot.
func RemoveTree(top string) bool {
	entries, err := os.ReadDir(top)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	for _, entry := range entries {
		if entry.IsDir() {
			RemoveTree(filepath.Join(top, entry.Name()))
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
