package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	core "k8s.io/api/core/v1"
)

// Agent is an agent that has frozen something, and the guard beside it.
type Agent struct{ Agent, Guard Process }

// Process is one process of the node.
type Process struct {
	PID int `json:"pid"`
}

// Kill ends it without a word.
func (p Process) Kill() error {
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing process %d: %w", p.PID, err)
	}
	return nil
}

// Stop keeps it from running on: it can be killed with others as if at once.
func (p Process) Stop() error {
	if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping process %d: %w", p.PID, err)
	}
	return nil
}

// Awaits says whether a signal waits for the process, which is stopped; or it has
// ended.
func (p Process) Awaits(signal syscall.Signal) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "SigPnd" && key != "ShdPnd" {
			continue
		}
		if bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil && bits&(1<<(signal-1)) != 0 {
			return true
		}
	}
	return false
}

// AgentOf reads what the node remembers of a session whose agent runs in a pod.
func AgentOf(pod *core.Pod, session string) (Agent, error) {
	var found Agent
	container, err := Open(pod, pod.Spec.Containers[0].Name)
	if err != nil {
		return found, err
	}
	defer container.Close()
	// The node has files of its own, which the agent sees.
	for _, pid := range container.Processes() {
		data, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "root/run/understudy", session+".json"))
		if err != nil {
			continue
		}
		if err := json.Unmarshal(data, &found); err != nil {
			return found, fmt.Errorf("reading what the node remembers of session %s: %w", session, err)
		}
		return found, nil
	}
	return found, fmt.Errorf("the node remembers nothing of session %s", session)
}
