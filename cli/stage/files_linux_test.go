package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.dev/understudy/operator/tunnel"
)

func tree(files ...string) tunnel.Tree {
	var tree tunnel.Tree
	for i := 0; i+1 < len(files); i += 2 {
		tree.Files = append(tree.Files, tunnel.File{Path: files[i], Mode: 0o400, Data: []byte(files[i+1])})
	}
	return tree
}

const token = "/var/run/secrets/kubernetes.io/serviceaccount"

// mounted is a pod with volumes at paths that the host has, has not, and has
// as something else.
func mounted(extra ...tunnel.Mount) script {
	w := welcome()
	w.Mounts = append([]tunnel.Mount{
		{Path: token}, {Path: "/no-such-directory/on/this/host"}, {Path: "/etc/understudy-test/config"},
		{Path: "/usr/share"}, {Path: "/etc/understudy-test.yaml", File: true}, {Path: "/no-such-file", File: true},
	}, extra...)
	return script{Welcome: w, Trees: map[string]tunnel.Tree{
		token:                             tree("token", "the token", "namespace", "shop"),
		"/no-such-directory/on/this/host": tree("deep/er/key", "deep value", "key", "value"),
		"/etc/understudy-test/config":     tree("key", "config value"),
		"/usr/share":                      tree("key", "instead of the host's"),
		"/etc/understudy-test.yaml":       tree(".", "a single file"),
		"/no-such-file":                   tree(".", "another single file"),
	}}
}

func TestVolumesAreAtTheirOwnPaths(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		before := listing(t)
		got := output(t, p, mounted(), "sh", "-c", `
			for file in `+token+`/token /run/secrets/kubernetes.io/serviceaccount/namespace /no-such-directory/on/this/host/deep/er/key \
				/no-such-directory/on/this/host/key /etc/understudy-test/config/key /usr/share/key /etc/understudy-test.yaml /no-such-file; do
				cat "$file"; echo
			done
			ls /usr/share
			cat /etc/hostname /etc/passwd | head -2
			touch /usr/share/mine 2>&1 | grep -o 'Read-only.*'
			touch /no-such-directory/mine 2>&1 | grep -o 'Read-only.*'
			touch /mine 2>&1 | grep -o 'Read-only.*'
			touch /tmp/understudy-stage-test && rm /tmp/understudy-stage-test && echo /tmp may be written
			pwd; cat /proc/self/comm; test -c /dev/null && echo devices
		`)
		passwd, _ := os.ReadFile("/etc/passwd")
		firstUser, _, _ := strings.Cut(string(passwd), "\n")
		want := "the token\nshop\ndeep value\nvalue\nconfig value\ninstead of the host's\na single file\nanother single file\nkey\nworker-0\n" + firstUser +
			"\nRead-only file system\nRead-only file system\nRead-only file system\n/tmp may be written\n/\ncat\ndevices"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if after := listing(t); after != before {
			t.Errorf("the host had\n%s\nand has\n%s", before, after)
		}
	})
}

// listing is what a stage could leave on the host.
func listing(t *testing.T) string {
	t.Helper()
	var all []string
	for _, directory := range []string{"/", "/etc", "/run", "/usr/share"} {
		entries, err := os.ReadDir(directory)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			all = append(all, filepath.Join(directory, entry.Name()))
		}
	}
	return strings.Join(all, " ")
}

// Where a user's programs write, a mount point is made for real, and taken
// away again; what is written beside it stays.
func TestAMountPointInAPersonalDirectory(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		home := shared(t)
		s := script{Welcome: welcome(), Trees: map[string]tunnel.Tree{home + "/conf/d": tree("key", "value")}}
		s.Welcome.Mounts = []tunnel.Mount{{Path: home + "/conf/d"}}
		c := command(t, p, s, "sh", "-c", "cat conf/d/key; echo mine > file")
		c.Dir = home
		out, err := c.Output()
		if err != nil || string(out) != "value" {
			t.Fatalf("got %q, %v", out, err)
		}
		if data, err := os.ReadFile(home + "/file"); err != nil || string(data) != "mine\n" {
			t.Errorf("what was written is %q, %v", data, err)
		}
		if _, err := os.Stat(home + "/conf"); !os.IsNotExist(err) {
			t.Errorf("the mount point is still there: %v", err)
		}
	})
}

func TestAHiddenWorkingDirectoryIsTold(t *testing.T) {
	p := players(t)[0]
	work := shared(t)
	directory := shared(t)
	s := script{Directory: directory, Welcome: welcome(), Trees: map[string]tunnel.Tree{work: tree("key", "value")}}
	s.Welcome.Mounts = []tunnel.Mount{{Path: work}}
	c := command(t, p, s, "cat", "key")
	c.Dir = work
	if out, err := c.Output(); err != nil || string(out) != "value" {
		t.Fatalf("got %q, %v", out, err)
	}
	if got, want := logged(t, directory, "notice "), fmt.Sprintf("the working directory %s is hidden by the mount of %s", work, work); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A reader sees one version or the other, whole, and a link that is exchanged
// as the kubelet does it.
func TestARefreshIsSeenWhole(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t)
		s := mounted()
		s.Directory = directory
		show := begin(t, command(t, p, s, "sh", "-c", `cd /etc/understudy-test/config && old=$(readlink ..data) && cat key && echo && read line && cat /etc/understudy-test/config/key && echo && ls && test "$old" != "$(readlink ..data)" && echo exchanged`))
		show.expect("config value")
		put(t, directory, "fresh", []byte("fresh value"))
		put(t, directory, "refresh", []byte("/etc/understudy-test/config"))
		if got := logged(t, directory, "refresh "); got != "<nil>" {
			t.Fatal(got)
		}
		fmt.Fprintln(show.stdin, "go on")
		show.expect("fresh value\nkey\nexchanged")
	})
}
