package root

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The number of a process that has ended leads to nobody else's files.
func TestEnded(t *testing.T) {
	for range 20 {
		c := newContainer(t, uid)
		r := c.reader()
		if _, err := r.Look(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
		c.end()
		refused := func(who string) {
			t.Helper()
			opened, err := Open(c.process)
			if err == nil {
				opened.Close()
			}
			if !errors.Is(err, syscall.ESRCH) {
				t.Errorf("%s: opening says %v", who, err)
			}
		}
		refused("the process has ended")
		if !takeNumber(t, c.pid) {
			continue
		}
		refused("the number is another's")
		other, err := Process(c.pid)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if opened, err := Open(other); err != nil {
			t.Errorf("the other one itself: %v", err)
		} else {
			opened.Close()
		}
		return
	}
	t.Fatal("none of 20 numbers was to be had")
}

// takeNumber starts a process of the node that has this number. It says false
// if a thread has it that goes on, of this program perhaps: threads and
// processes are numbered alike.
func takeNumber(t *testing.T, pid int) bool {
	t.Helper()
	for range 200 {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); err == nil {
			return false
		}
		// The next process has the next number, if nobody else starts one just now.
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); errors.Is(err, unix.ENOENT) {
			t.Skip("this kernel lets nobody choose a process's number")
		} else if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "infinity")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		if cmd.Process.Pid == pid {
			t.Cleanup(end)
			return true
		}
		end()
	}
	return false
}
