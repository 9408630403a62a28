package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// becomeSubreaper lets the orphans among this process's descendants come back
// to it.
func becomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming a subreaper: %w", err)
	}
	return nil
}

// pids are all processes, as far as /proc tells.
func pids() []int {
	directory, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parents is the parent of each process that is not dead.
func parents() map[int]int {
	parents := map[int]int{}
	for _, pid := range pids() {
		if stat, ok := readStat(pid); ok && !stat.dead {
			parents[pid] = stat.parent
		}
	}
	return parents
}

// processStat is what is of interest here of /proc/PID/stat.
type processStat struct {
	parent        int
	dead, stopped bool
}

// Fields of /proc/PID/stat (proc_pid_stat(5)), counted from the state on.
const (
	stateField   = 0
	parentField  = 1
	threadsField = 17
)

func readStat(pid int) (processStat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}, false
	}
	// pid (name) state ppid: the name may hold anything, parentheses too.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= threadsField {
		return processStat{}, false
	}
	parent, err := strconv.Atoi(string(fields[parentField]))
	if err != nil {
		return processStat{}, false
	}
	// A process whose first thread has ended looks dead but for its others.
	others := string(fields[threadsField]) != "0" && string(fields[threadsField]) != "1"
	state := fields[stateField][0]
	return processStat{parent: parent, dead: state == 'Z' && !others, stopped: state == 'T'}, true
}

// stopped says whether a process is stopped by a signal.
func stopped(pid int) bool {
	stat, ok := readStat(pid)
	return ok && stat.stopped
}

// killDescendants sends SIGKILL to each descendant of this process, but for
// one and its descendants, and says how many there were.
func killDescendants(except int) int {
	parents, self, killed := parents(), os.Getpid(), 0
	for pid := range parents {
		for ancestor := pid; ancestor > 1 && ancestor != except; ancestor = parents[ancestor] {
			if parents[ancestor] == self {
				if unix.Kill(pid, unix.SIGKILL) == nil {
					killed++
				}
				break
			}
		}
	}
	return killed
}

// round is how long to wait for killed processes before looking again.
const round = time.Millisecond

// killAll kills descendants until none is left, reaping them; what forks
// meanwhile is found in the next round.
func killAll() {
	for !reapAll() {
		killDescendants(0)
		time.Sleep(round)
	}
}

// reapAll says whether no child is left.
func reapAll() bool {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return true
		case err == nil && pid == 0:
			return false
		}
	}
}

// fence knows the processes of one stage by what none of them can leave: the
// user namespace.
type fence struct {
	namespace *os.File
	dev, ino  uint64
	hand      int
}

// maxDepth of user namespaces below each other, as the kernel has it.
const maxDepth = 33

func newFence(hand int) (*fence, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", hand))
	if err != nil {
		return nil, fmt.Errorf("opening the stage's user namespace: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		file.Close()
		return nil, fmt.Errorf("opening the stage's user namespace: %w", err)
	}
	return &fence{namespace: file, dev: uint64(stat.Dev), ino: stat.Ino, hand: hand}, nil
}

func (f *fence) close() { f.namespace.Close() }

// holds says whether a process is in the stage's user namespace or below it.
func (f *fence) holds(pid int) bool {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	for range maxDepth {
		var stat unix.Stat_t
		if unix.Fstat(fd, &stat) == nil && uint64(stat.Dev) == f.dev && stat.Ino == f.ino {
			unix.Close(fd)
			return true
		}
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		unix.Close(fd)
		if err != nil {
			return false
		}
		fd = parent
	}
	unix.Close(fd)
	return false
}

// sweep kills every process of the stage, until none is left or the deadline
// has passed. The hand comes last: should this process be killed halfway, the
// hand is the one to go on.
func (f *fence) sweep(deadline time.Duration) {
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(round) {
		others, hand := 0, false
		for _, pid := range pids() {
			if !f.holds(pid) {
				continue
			}
			if stat, ok := readStat(pid); !ok || stat.dead {
				continue
			}
			if pid == f.hand {
				hand = true
				continue
			}
			others++
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		switch {
		case others == 0 && !hand:
			return
		case others == 0:
			_ = unix.Kill(f.hand, unix.SIGKILL)
		}
	}
}
