package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

// A sidecar that is started again is let through the fence before its program has
// got to its first connection: one that gives up at a refusal would crash, and
// again, for as long as the session lasts.
func TestSidecarStartedAgain(t *testing.T) {
	w := newNodeWorld(t)
	p := w.agent(nil)
	p.awaitReady()
	listener := w.network.Listen("127.0.0.1:7777")
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	lastWords := filepath.Join(t.TempDir(), "pods", w.pod.UID, "containers", "sidecar", "1f2e3d4c")
	if err := os.MkdirAll(lastWords, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_, dirs := w.pod.Another()
		var script strings.Builder
		for _, dir := range dirs {
			fmt.Fprintf(&script, "echo $$ >%s/cgroup.procs\n", dir)
		}
		// As the kubelet mounts it, by which it is known for another.
		fmt.Fprintf(&script, "mount --bind %s /mnt\nexec bash -c 'sleep 0.5; exec 3<>/dev/tcp/127.0.0.1/7777'", lastWords)
		w.network.In(func() error {
			if out, err := exec.Command("unshare", "--mount", "sh", "-c", script.String()).CombinedOutput(); err != nil {
				t.Errorf("the sidecar was refused: %v\n%s", err, out)
			}
			return nil
		})
	}
	if !p.isReady() {
		t.Error("the session did not go on")
	}
}

// A pod whose sandbox is made anew has another network, in which there is no fence:
// the session ends, and says why, before anything is started there.
func TestSandboxMadeAnew(t *testing.T) {
	w := newNodeWorld(t)
	p := w.agent(nil)
	p.awaitReady()
	_ = w.target.Cmd.Process.Kill()
	_ = w.sidecar.Cmd.Process.Kill()
	_, dirs := w.pod.Another()
	var groups []string
	for _, dir := range dirs {
		groups = append(groups, dir)
	}
	sandbox := freezetest.NewNetwork(t).Start("count", groups)
	if err := p.awaitExit(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	if said := saidAtTheEnd(p.stderr.String()); !strings.Contains(said, "the pod's sandbox was made anew") {
		t.Errorf("the agent said %q", said)
	}
	w.pod.Moves(sandbox)
	if frozenNow(dirs) {
		t.Error("the sandbox was frozen")
	}
	_ = sandbox.Cmd.Process.Signal(syscall.SIGKILL)
}

// What a runtime starts in the container's cgroup is in the node's network at first.
func TestElsewhere(t *testing.T) {
	pod, other := freezetest.NewNetwork(t), freezetest.NewNetwork(t)
	inPod, inOther, runtimes := pod.Start("count", nil).PID(), other.Start("count", nil).PID(), freezetest.Start(t, "count", nil).PID()
	for name, test := range map[string]struct {
		pids []int
		want bool
		err  error
	}{
		"of the pod":                     {[]int{inPod}, false, nil},
		"of another":                     {[]int{inOther}, true, nil},
		"of the runtime":                 {[]int{runtimes}, false, cgroup.ErrGone},
		"of the runtime, and of the pod": {[]int{runtimes, inPod}, false, nil},
		"of the runtime, and of another": {[]int{runtimes, inOther}, true, nil},
		"gone":                           {nil, false, cgroup.ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			pod.In(func() error {
				got, err := elsewhere(test.pids)
				if got != test.want || !errors.Is(err, test.err) {
					t.Errorf("elsewhere() = %v, %v", got, err)
				}
				return nil
			})
		})
	}
}
