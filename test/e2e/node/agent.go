package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
