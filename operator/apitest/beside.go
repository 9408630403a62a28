package apitest

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Beside runs another project's controller on the API server of Controllers until
// the test ends, and answers the folder of the resources that it serves. before is
// called with that before it starts. The test is skipped where nobody has built it:
// it is no part of what every change has to pass.
func Beside(t testing.TB, name string, before func(files string), args ...string) {
	t.Helper()
	Controllers(t)
	path, missing := program("TEST_ASSET_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), name)
	if missing != "" {
		t.Skip("no " + name + ": `make test-controllers` builds it")
	}
	whole, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatalf("finding %s: %v", name, err)
	}
	before(filepath.Join(filepath.Dir(whole), "files"))
	var said bytes.Buffer
	cmd := exec.Command(path, append([]string{"--kubeconfig=" + filepath.Join(controllers.folder, "kubeconfig")}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &said, &said, endsWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
}
