// Package process starts programs that outlive the command that started them,
// and finds them again by what it recorded.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/test/cluster/cgroup"
)

// Table is the processes of one cluster.
type Table struct {
	// Folder holds one record for each process.
	Folder string
	// Host and Group say where every process is kept.
	Host  cgroup.Host
	Group string
}

// Record is what is needed to know a process again.
type Record struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// Start is the process's start in clock ticks after boot (field 22 of
	// /proc/PID/stat): another process that later got the same id has another.
	Start uint64 `json:"start"`
	// Digest stands for all that it was started with.
	Digest string `json:"digest,omitempty"`
}

// Command prepares a program that lives on by itself: no terminal, no signals
// meant for the caller's job, output appended to a log file.
func Command(log, path string, args ...string) (*exec.Cmd, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, fmt.Errorf("making log folder: %w", err)
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Proxy settings and the like of the caller must not reach the cluster.
	cmd.Env = []string{
		"PATH=" + filepath.Dir(path) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
	}
	return cmd, nil
}

// Start runs a prepared command and records it, with a digest of the caller's by
// which it can tell later whether it would start the same again. It returns the
// process id.
func (t Table) Start(name, digest string, cmd *exec.Cmd) (int, error) {
	if err := os.MkdirAll(t.Folder, 0o755); err != nil {
		return 0, fmt.Errorf("starting %s: %w", name, err)
	}
	hierarchies, err := t.Host.Hierarchies()
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", name, err)
	}
	if _, err := os.Stat(filepath.Join(hierarchies[0], "cgroup.controllers")); err == nil {
		// Born in the cgroup: not even a crash between two lines leaves it outside.
		fd, err := unix.Open(filepath.Join(hierarchies[0], t.Group), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, fmt.Errorf("starting %s: opening its cgroup: %w", name, err)
		}
		defer unix.Close(fd)
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	err = cmd.Start()
	for _, out := range []io.Writer{cmd.Stdout, cmd.Stderr} {
		if file, ok := out.(*os.File); ok {
			_ = file.Close()
		}
	}
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", name, err)
	}
	pid := cmd.Process.Pid
	// Where it dies before the caller does it must not stay as a zombie.
	go func() { _ = cmd.Wait() }()
	if err := t.Host.Join(t.Group, pid); err != nil && !errors.Is(err, unix.ESRCH) {
		return 0, fmt.Errorf("starting %s: %w", name, err)
	}
	start, err := startOf(pid)
	if err != nil {
		return 0, fmt.Errorf("starting %s: it ended at once: %w", name, err)
	}
	record, err := json.Marshal(Record{Name: name, PID: pid, Start: start, Digest: digest})
	if err != nil {
		return 0, fmt.Errorf("recording %s: %w", name, err)
	}
	if err := os.WriteFile(t.file(name), append(record, '\n'), 0o644); err != nil {
		return 0, fmt.Errorf("recording %s: %w", name, err)
	}
	return pid, nil
}

func (t Table) file(name string) string { return filepath.Join(t.Folder, name+".json") }

// Find returns the record of a process that still runs, and whether it does.
func (t Table) Find(name string) (Record, bool, error) {
	content, err := os.ReadFile(t.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("reading the record of %s: %w", name, err)
	}
	var record Record
	if err := json.Unmarshal(content, &record); err != nil {
		// A crash in the middle of writing: the process itself is found by its cgroup.
		return Record{}, false, nil
	}
	start, err := startOf(record.PID)
	return record, err == nil && start == record.Start, nil
}

// Stop sends a process a signal and waits until it is gone; when ctx ends first
// it is ended by SIGKILL. One that does not run is no error.
func (t Table) Stop(ctx context.Context, name string, signal syscall.Signal) error {
	record, running, err := t.Find(name)
	if err != nil || !running {
		return err
	}
	handle, err := unix.PidfdOpen(record.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stopping %s: %w", name, err)
	}
	defer unix.Close(handle)
	// Between reading its start and opening the handle the id could have changed hands.
	if start, err := startOf(record.PID); err != nil || start != record.Start {
		return nil
	}
	if err := unix.PidfdSendSignal(handle, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stopping %s: %w", name, err)
	}
	for {
		if ctx.Err() != nil {
			if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stopping %s: %w", name, err)
			}
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, int((100 * time.Millisecond).Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the end of %s: %w", name, err)
		}
		if ready > 0 {
			return nil
		}
	}
}

// startOf reads when a process started; it fails for one that is gone or dead
// and not yet waited for.
func startOf(pid int) (uint64, error) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseStart(string(content))
}

// parseStart takes the start out of a line of /proc/PID/stat. The program's name
// stands there in parentheses and may itself hold spaces and parentheses.
func parseStart(stat string) (uint64, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("reading process state %q: no name in it", stat)
	}
	fields := strings.Fields(stat[end+1:])
	// Fields are counted from the third (the state) here, the start is the 22nd.
	if len(fields) < 20 {
		return 0, fmt.Errorf("reading process state %q: too short", stat)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fs.ErrNotExist
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
