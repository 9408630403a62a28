package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRead: nothing is read that is larger than any configuration, or may never end.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, wrong := range map[string]string{at("full", mostText): "", at("large", mostText+1): "it has more than 4194304 bytes", "/dev/zero": "it has more than", filepath.Join(dir, "none"): "no such file"} {
		if _, err := Read(path, true); wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Read("/dev/null", false); err == nil || err.Error() != "it is no regular file" {
		t.Error(err)
	}
}
