package developer

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// markerName is the environment variable by which the processes of one run are
// known, whoever their parent is.
const markerName = "UNDERSTUDY_E2E_RUN"

// Process is one process of a run.
type Process struct {
	PID int
	// Program is the last part of the executable's path.
	Program string
	Command string
}

// Processes lists all that the run has started and that still run, grandchildren
// whose parents are gone too.
func (r *Run) Processes() []Process {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	wanted := []byte(markerName + "=" + r.marker)
	var found []Process
	for _, folder := range folders {
		environment, err := os.ReadFile(folder + "/environ")
		if err != nil || !bytes.Contains(environment, wanted) {
			continue // ended meanwhile, or not ours to read
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		executable, err := os.Readlink(folder + "/exe")
		if err != nil {
			continue // a zombie has none
		}
		command, _ := os.ReadFile(folder + "/cmdline")
		found = append(found, Process{
			PID: pid, Program: filepath.Base(strings.TrimSuffix(executable, " (deleted)")),
			Command: string(bytes.ReplaceAll(bytes.TrimRight(command, "\x00"), []byte{0}, []byte(" "))),
		})
	}
	return found
}

// Of lists the processes of one program.
func (r *Run) Of(program string) []Process {
	var found []Process
	for _, p := range r.Processes() {
		if p.Program == program {
			found = append(found, p)
		}
	}
	return found
}
