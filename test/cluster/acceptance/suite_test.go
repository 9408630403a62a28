package acceptance

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func (s suite) apply(t *testing.T, manifest string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.layout.Program("kubectl"), "apply", "-f", "-")
	command.Env = append(os.Environ(), "KUBECONFIG="+s.layout.Kubeconfig())
	command.Stdin = strings.NewReader(manifest)
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("applying: %v\n%s", err, said)
	}
}

func (s suite) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.layout.Program("kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.layout.Kubeconfig())
	said, err := command.CombinedOutput()
	return strings.TrimSpace(string(said)), err
}

// kubectl runs a command that must succeed; when it does not, what the cluster is
// like is printed.
func (s suite) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	said, err := s.try(t, args...)
	if err != nil {
		state, _ := s.try(t, "get", "nodes,pods,events", "-A", "-o", "wide")
		t.Fatalf("kubectl %s: %v\n%s\n%s", strings.Join(args, " "), err, said, state)
	}
	return said
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}
