package machine

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMachineIsItsOwnAndNothingElseIsChanged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making namespaces needs root")
	}
	outside, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	mountsBefore, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	// An own folder of the machine, which exists outside too.
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "outside"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	holding := exec.Command("cat")
	stdin, err := holding.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "m-1", Storage: t.TempDir(), Folders: []string{shared}}
	m, err := Create(spec, holding, func(cmd *exec.Cmd) (int, error) {
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
	if err != nil {
		t.Skipf("making namespaces: %v", err)
	}
	defer func() {
		_ = stdin.Close()
		if err := holding.Wait(); err != nil {
			t.Error(err)
		}
	}()

	var name string
	var interfaces []net.Interface
	var entries []os.DirEntry
	err = m.Do(func() error {
		var err error
		if name, err = os.Hostname(); err != nil {
			return err
		}
		if interfaces, err = net.Interfaces(); err != nil {
			return err
		}
		if entries, err = os.ReadDir(shared); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(shared, "inside"), nil, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if name != "m-1" || len(interfaces) != 1 || len(entries) != 0 {
		t.Errorf("host name %s, interfaces %v, folder %v; want m-1, loopback only, nothing", name, interfaces, entries)
	}
	if _, err := os.Stat(filepath.Join(spec.Storage, shared, "inside")); err != nil {
		t.Errorf("what the machine wrote is not in its storage: %v", err)
	}

	// A process that is started in it is in it.
	var said strings.Builder
	inside := exec.Command("cat", "/proc/sys/kernel/hostname")
	inside.Stdout = &said
	if err := m.Do(inside.Start); err != nil {
		t.Fatal(err)
	}
	if err := inside.Wait(); err != nil || strings.TrimSpace(said.String()) != "m-1" {
		t.Errorf("a process in the machine has the host name %q (error %v)", said.String(), err)
	}

	if now, _ := os.Hostname(); now != outside {
		t.Errorf("the host name outside was %s and is %s", outside, now)
	}
	if _, err := os.Stat(filepath.Join(shared, "outside")); err != nil {
		t.Errorf("outside, the folder is not what it was: %v", err)
	}
	mountsAfter, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if string(mountsAfter) != string(mountsBefore) {
		t.Error("mounts outside have changed")
	}
}
