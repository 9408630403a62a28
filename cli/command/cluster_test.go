package command

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/config"
)

// TestUserAgent: an audit log names this program and its version.
func TestUserAgent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(`{
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"contexts": [{"name": "c", "context": {"cluster": "c"}}],
		"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	reach, _, err := cluster(&config.Config{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	want := "understudy/" + release() + " (" + runtime.GOOS + "/" + runtime.GOARCH + ")"
	if reach.UserAgent != want {
		t.Errorf("user agent %q, want %q", reach.UserAgent, want)
	}
	if _, err := session.NewClient(reach, ""); err != nil || reach.UserAgent != want {
		t.Errorf("after making a client: %q, %v", reach.UserAgent, err)
	}
}
