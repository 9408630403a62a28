package record

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Process is one process of the node, and no other that gets its number later.
type Process struct {
	PID int `json:"pid"`
	// Started is in clock ticks since boot (proc_pid_stat(5), field 22).
	Started uint64 `json:"started"`
}

// Identify tells which process has the number now.
func Identify(pid int) (Process, error) {
	_, started, err := look(pid)
	if err != nil {
		return Process{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	return Process{PID: pid, Started: started}, nil
}

// Lives tells whether the process is there. One that has ended and was not
// waited for is not.
func (p Process) Lives() bool {
	if p.PID <= 0 {
		return false
	}
	state, started, err := look(p.PID)
	return err == nil && started == p.Started && state != "Z" && state != "X"
}

func look(pid int) (state string, started uint64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0, err
	}
	// The name before it, in brackets, may itself have brackets and blanks.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", 0, fmt.Errorf("its stat has only %d fields", len(fields))
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0], started, err
}
