package story

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"understudy.dev/understudy/test/e2e/workload"
)

// Where a name service of the machine would answer for the C library over a
// unix socket, wrongly, it is not asked by my process: names are the pod's.
func TestLyingResolver(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: giving a developer another /run needs root")
	}
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})

	// A name service cache that counts who asks; a question that it does not
	// answer is a failed look-up for the C library.
	folder := t.TempDir()
	s.must(os.Chmod(folder, 0o755))
	for parent := filepath.Dir(folder); parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
		s.must(os.Chmod(parent, 0o755))
	}
	socket := filepath.Join(folder, "socket")
	l, err := net.Listen("unix", socket)
	s.must(err)
	t.Cleanup(func() { l.Close() })
	s.must(os.Chmod(socket, 0o777))
	var asked atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			conn.Close()
		}
	}()

	// On this developer's machine it is at /run/nscd, where the C library looks.
	// Nothing of that is seen outside of the namespace that the shell is in.
	inside := func(command ...string) *exec.Cmd {
		script := fmt.Sprintf(`set -e
mount -t tmpfs none /run && mkdir -p /run/nscd && mount --bind %s /run/nscd
exec setpriv --reuid %d --regid %d --clear-groups env HOME=%s KUBECONFIG=%s/kubeconfig PATH=%s:/usr/bin:/bin "$@"`,
			folder, theMachine.UID(), theMachine.GID(), s.dev.Home, s.dev.Home, filepath.Dir(s.dev.Program("understudy")))
		cmd := exec.CommandContext(s.ctx, "unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c", script, "sh"}, command...)...)
		cmd.Dir = s.dev.Home
		return cmd
	}

	// The trap works: out here a look-up asks it.
	inside("getent", "ahostsv4", "localhost.localdomain").Run() // whether it finds the name is not the question
	if asked.Load() == 0 {
		t.Skip("SKIPPED: the C library of this machine does not ask a name service cache")
	}

	// What leads up to my command asks too (who is the user of this number?).
	before := asked.Load()
	s.must(inside("true").Run())
	around := asked.Load() - before

	// In the workload's place nothing more is asked, and the name is the pod's.
	before = asked.Load()
	out, err := inside("understudy", "exec", "-t", "deployment/web/container/web", "--copy-target", "--", "sh", "-c",
		"getent ahostsv4 web; test -e /run/nscd/socket && echo the socket is there; true").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "STREAM") {
		t.Errorf("the C library found no address for the Service\n%s", out)
	}
	if n := asked.Load() - before; n > around {
		t.Errorf("the machine's name service was asked %d times, and %d times without a session\n%s", n, around, out)
	}
	if strings.Contains(string(out), "the socket is there") {
		t.Errorf("the name service's socket is there\n%s", out)
	}
}
