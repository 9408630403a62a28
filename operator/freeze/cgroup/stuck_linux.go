package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stuck names processes that sleep where they cannot be interrupted, for the
// error.
func (g *Group) stuck() string {
	pids, err := g.PIDs()
	if err != nil || g.Version != V2 {
		// A task that v1 froze looks the same as one that sleeps so.
		return ""
	}
	var names []string
	for _, pid := range pids {
		if name, ok := sleepsDeeply(pid); ok && len(names) < 3 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// sleepsDeeply describes a process with a thread that cannot be interrupted
// where it sleeps.
func sleepsDeeply(pid int) (string, bool) {
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*"))
	if err != nil {
		return "", false
	}
	for _, dir := range threads {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		before, after, ok := cutLast(string(stat), ")")
		_, name, _ := strings.Cut(before, "(")
		if !ok || !strings.HasPrefix(after, " D") {
			continue
		}
		said := fmt.Sprintf("process %d (%s) sleeps where it cannot be interrupted", pid, name)
		if where, err := os.ReadFile(filepath.Join(dir, "wchan")); err == nil && len(where) > 1 {
			said += ", in " + string(where)
		}
		return said, true
	}
	return "", false
}
