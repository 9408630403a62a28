package story

import (
	"fmt"
	"os"
	"strings"
)

// parent is a process' parent as /proc has it, or 0.
func parent(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var ppid int
		if n, _ := fmt.Sscanf(line, "PPid:\t%d", &ppid); n == 1 {
			return ppid
		}
	}
	return 0
}
