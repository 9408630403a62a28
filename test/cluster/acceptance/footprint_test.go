package acceptance

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"understudy.dev/understudy/test/cluster/layout"
)

// footprint is all that a cluster could leave on the machine.
type footprint map[string]bool

// takeFootprint looks at the whole machine, but for what others change all the
// time: only processes, mounts, namespaces and cgroups that bear a mark of this
// cluster.
func takeFootprint(t *testing.T, l layout.Layout) footprint {
	t.Helper()
	clusterFolder := l.Cluster()
	found := footprint{}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range interfaces {
		found["interface "+one.Name] = true
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if strings.Contains(line, clusterFolder) {
			found["mount "+line] = true
		}
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		// Other cgroups come and go while this looks; only ours can be a finding.
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), l.Group()) {
			found["cgroup "+path] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{
		"/etc/cni", "/etc/kubernetes", "/etc/containerd", "/opt/cni", "/opt/containerd", "/opt/nri", "/usr/libexec/kubernetes",
		"/run/containerd", "/run/netns", "/var/lib/containerd", "/var/lib/cni", "/var/lib/etcd", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers",
	} {
		if _, err := os.Lstat(folder); err == nil {
			found["folder "+folder] = true
		}
	}
	if _, err := os.Lstat(clusterFolder); err == nil {
		found["folder "+clusterFolder] = true
	}
	for process, command := range processesThatSay(t, clusterFolder) {
		found[fmt.Sprintf("process %d %s", process, command)] = true
	}
	return found
}

// processesThatSay returns the processes whose command line, environment, mounts
// or open files name a folder. Containers have mounts below it, whatever they run.
func processesThatSay(t *testing.T, folder string) map[int]string {
	t.Helper()
	found := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, file := range []string{"cmdline", "mountinfo"} {
			content, err := os.ReadFile(filepath.Join("/proc", entry.Name(), file))
			if err == nil && bytes.Contains(content, []byte(folder)) {
				command, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
				found[pid] = strings.TrimSpace(string(command))
			}
		}
	}
	return found
}

// beyond returns what is in f and was not in before.
func (f footprint) beyond(before footprint) []string {
	var more []string
	for thing := range f {
		if !before[thing] {
			more = append(more, thing)
		}
	}
	return more
}
