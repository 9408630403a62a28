package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fake makes a folder that looks like a mounted cgroup file system.
func fake(t *testing.T, files map[string]string) Host {
	t.Helper()
	mount := t.TempDir()
	for name, content := range files {
		path := filepath.Join(mount, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Mount: mount}
}

func TestHierarchies(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"version 2": {map[string]string{"cgroup.controllers": "cpu", "cgroup.procs": ""}, []string{""}},
		"hybrid": {map[string]string{
			"cpu/cgroup.procs": "", "freezer/cgroup.procs": "",
			"unified/cgroup.procs": "", "unified/cgroup.controllers": "",
		}, []string{"unified", "cpu", "freezer"}},
		"version 1":      {map[string]string{"cpu/cgroup.procs": "", "other/readme": ""}, []string{"cpu"}},
		"nothing at all": {map[string]string{"readme": ""}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			host := fake(t, test.files)
			got, err := host.Hierarchies()
			if (err != nil) != (test.want == nil) {
				t.Fatalf("error %v", err)
			}
			var want []string
			for _, one := range test.want {
				want = append(want, filepath.Join(host.Mount, one))
			}
			if !slices.Equal(got, want) {
				t.Errorf("hierarchies %v, want %v", got, want)
			}
		})
	}
}

// On the machine's own cgroups: a frozen process and a child in a cgroup below
// are ended, and nothing is left.
func TestDestroy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making cgroups needs root")
	}
	host := Host{Mount: "/sys/fs/cgroup"}
	const name = "understudy-cgroup-test"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := host.Make(name + "/below"); err != nil {
		t.Skipf("making cgroups: %v", err)
	}
	command := exec.Command("cat")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	if err := host.Join(name+"/below", command.Process.Pid); err != nil {
		t.Fatal(err)
	}
	pids, err := host.Processes(name)
	if err != nil || !slices.Equal(pids, []int{command.Process.Pid}) {
		t.Fatalf("processes %v (error %v), want %d", pids, err, command.Process.Pid)
	}
	frozen := false
	hierarchies, err := host.Hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range hierarchies {
		for file, value := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
			if os.WriteFile(filepath.Join(root, name, "below", file), []byte(value), 0) == nil {
				frozen = true
			}
		}
	}
	if !frozen {
		t.Log("nothing here can freeze")
	}
	if err := host.Destroy(ctx, name); err != nil {
		t.Fatal(err)
	}
	err = <-ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("the process ended with %v, want SIGKILL", err)
	}
	for _, root := range hierarchies {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s is left in %s", name, root)
		}
	}
	if err := host.Destroy(ctx, name); err != nil {
		t.Errorf("destroying what is not there: %v", err)
	}
}
