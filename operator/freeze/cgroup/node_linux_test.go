package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/freezetest"
)

func TestParseMounts(t *testing.T) {
	const hybrid = `
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 /kubepods/podx/y /sys/fs/cgroup/freezer rw,relatime shared:9 master:2 - cgroup cgroup rw,freezer
38 31 0:34 / /host/a\040blank/freezer rw,relatime - cgroup cgroup rw,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
`
	var freezing []mount
	for _, m := range parseMounts(hybrid) {
		if m.freezes {
			freezing = append(freezing, m)
		}
	}
	want := []mount{
		{id: "38", device: "0:34", version: V1, freezes: true, root: "/", point: "/host/a blank/freezer"},
		{id: "41", device: "0:38", version: V2, freezes: true, root: "/", point: "/sys/fs/cgroup/unified"},
		{id: "37", device: "0:34", version: V1, freezes: true, root: "/kubepods/podx/y", point: "/sys/fs/cgroup/freezer"},
	}
	if diff := cmp.Diff(want, freezing, cmp.AllowUnexported(mount{})); diff != "" {
		t.Error(diff)
	}
	for cgroup, want := range map[string]string{"/kubepods/podx/y/z": "/z", "/kubepods/podx/y": "", "/kubepods/podx/yy": "-", "/": "-"} {
		got, ok := freezing[2].below(cgroup)
		if !ok {
			got = "-"
		}
		if ok != (want != "-") || ok && got != want {
			t.Errorf("%s is seen at %q, want %q", cgroup, got, want)
		}
	}
}

func TestParseMembership(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want map[Version]string
	}{
		"v2":                        {"0::/a\n", map[Version]string{V2: "/a"}},
		"v1":                        {"6:cpu,freezer:/a\n5:devices:/b\n", map[Version]string{V1: "/a"}},
		"hybrid":                    {"9:name=systemd:/s\n6:freezer:/a\n0::/b\n", map[Version]string{V1: "/a", V2: "/b"}},
		"a colon in it":             {"0::/x.slice:cri-containerd:y\n", map[Version]string{V2: "/x.slice:cri-containerd:y"}},
		"a process that has ended":  {"0::/a (deleted)\n", map[Version]string{}},
		"a hierarchy named freezer": {"7:name=freezer:/a\n", map[Version]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, parseMembership(test.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Without being told, the version is the one that the container is in.
func TestFindChooses(t *testing.T) {
	for _, test := range []struct {
		name  string
		in    []int
		first func(b *bed)
		want  Version
	}{
		{"v1 alone", []int{1}, nil, V1},
		{"v2 alone", []int{2}, nil, V2},
		{"both", []int{1, 2}, nil, V2},
		{"frozen in v1 already", []int{1, 2}, func(b *bed) { freezeByHand(t, b, b.Dirs[1]) }, V1},
		{"frozen in v2 already", []int{1, 2}, func(b *bed) { freezeByHand(t, b, b.Dirs[2]) }, V2},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := makeBed(t, 0, test.in...)
			p := b.Start("count", b.Dirs)
			if test.first != nil {
				test.first(b)
			}
			g := b.find()
			if g.Version != test.want {
				t.Errorf("it is to be frozen in %v", g.Version)
			}
			freezeAndThaw(t, b, g, p)
		})
	}
}

func TestFindOnlyThatOne(t *testing.T) {
	b := makeBed(t, 0, 2)
	b.Start("count", b.Dirs)
	_, others := b.Another()
	// A container that has made cgroups in the likeness of another's.
	likeness := filepath.Join(others[2], "kubepods", "pod"+b.UID, randomID(b.ID))
	if err := os.MkdirAll(likeness, 0o755); err != nil {
		t.Fatal(err)
	}
	b.Start("count", map[int]string{2: likeness})
	if _, err := b.node.Find(Container{PodUID: b.UID, ID: filepath.Base(likeness)}); !errors.Is(err, ErrGone) {
		t.Errorf("the likeness was found: %v", err)
	}
	for _, c := range []Container{{b.UID, b.ID[:len(b.ID)-1]}, {b.UID, b.ID[1:]}, {"", b.ID}, {b.UID, ""}, {b.UID, "../" + b.ID}} {
		if g, err := b.node.Find(c); err == nil {
			t.Errorf("%+v was found: %v", c, g)
		}
	}
	for _, path := range []string{"/", "/kubepods", "/kubepods/pod" + b.UID, "/understudy", "/kubepods/pod" + b.UID + "/.."} {
		if g, err := b.node.Open(V2, path); err == nil {
			t.Errorf("%s was opened: %v", path, g)
		}
	}
	found, err := b.node.Containers(b.UID)
	if err != nil || len(found) != 2 || !slices.Contains(found, b.container) {
		t.Errorf("Containers() = %v, %v", found, err)
	}
}

// randomID is of the same form as another, and not it.
func randomID(like string) string {
	return strings.Map(func(r rune) rune {
		if r == '0' {
			return '1'
		}
		return '0'
	}, like)
}

func TestNetworkNamespace(t *testing.T) {
	b := makeBed(t, 0, 2)
	if _, err := b.node.NetworkNamespace(b.UID); !errors.Is(err, ErrGone) {
		t.Errorf("of a pod without a process: %v", err)
	}
	pod, nested := freezetest.NewNetwork(t), freezetest.NewNetwork(t)
	// A nested one that is older must not be taken for the pod's.
	inner := filepath.Join(b.Dirs[2], "docker", "x")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	nested.Start("count", []string{inner})
	is := func(network *freezetest.Network) {
		t.Helper()
		ns, err := b.node.NetworkNamespace(b.UID)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if got, want := inodeOf(t, ns), inodeOf(t, network.File()); got != want {
			t.Errorf("namespace %d, want %d", got, want)
		}
	}
	// Where all are nested it is the runtime that has made the cgroup.
	is(nested)
	pod.Start("count", slices.Collect(maps.Values(b.Dirs)))
	is(pod)
}

func inodeOf(t *testing.T, f *os.File) uint64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// Begun tells a container's program from the runtime's, which has the node's
// file systems or none.
func TestBegun(t *testing.T) {
	b := makeBed(t, 0, 2)
	// The test's own program, from the node, in a mount namespace of its own that
	// has none of the node's mounts: as runc init just before it runs the program.
	root := t.TempDir()
	p := b.Start("pivot", b.Dirs, "CGROUP_TEST_ROOT="+root)
	g := b.find()
	if begun, err := g.Begun(); err != nil || begun {
		t.Fatalf("before: %v, %v", begun, err)
	}
	_ = p.Cmd.Process.Signal(unix.SIGUSR1) // run the container's program
	freezetest.Until(t, "the container's program runs", func() bool {
		begun, err := g.Begun()
		return err == nil && begun
	})
}

// init keeps the main goroutine on the main thread, the one that /proc shows.
func init() { runtime.LockOSThread() }

// pivot enters a root of its own, as a runtime does, and runs a program that is
// in there when it is told to.
func pivot(count func()) error {
	root := os.Getenv("CGROUP_TEST_ROOT")
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGUSR1)
	if err := errors.Join(
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("image", root, "tmpfs", 0, ""),
	); err != nil {
		return fmt.Errorf("making a root: %w", err)
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "program"), program, 0o755); err != nil {
		return err
	}
	file, err := os.ReadFile(os.Getenv("FREEZE_TEST_FILE"))
	if err != nil {
		return err
	}
	// What the program may be linked with.
	for _, dir := range []string{"/usr", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			if err := errors.Join(os.Mkdir(filepath.Join(root, dir), 0o755), unix.Mount(dir, filepath.Join(root, dir), "", unix.MS_BIND, "")); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(root, "count"), file, 0o600),
		os.Mkdir(filepath.Join(root, "old"), 0o755),
		unix.PivotRoot(root, filepath.Join(root, "old")),
		os.Chdir("/"),
		unix.Unmount("/old", unix.MNT_DETACH),
	); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	count()
	<-told
	return unix.Exec("/program", []string{"program"}, []string{"FREEZE_TEST_ROLE=count", "FREEZE_TEST_FILE=/count"})
}
