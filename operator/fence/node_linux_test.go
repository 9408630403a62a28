package fence

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// The node's addresses are found from the pod alone: through the process that has
// started the pod's, here one that is on the node.
func TestNodeAddresses(t *testing.T) {
	w := newWorld(t)
	runtime := w.outside("runtime")
	// It may start something in the pod as long as the file is open here.
	runtime.expect("ok", "start /proc/%d/fd/%d", os.Getpid(), w.pod.Fd())
	got, err := NodeAddresses(w.pod)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []netip.Addr{kubelet4, kubelet6, stranger4} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %v", want, got)
		}
	}
	if slices.Contains(got, pod4) {
		t.Errorf("%v has the pod's own address", got)
	}
}

// startPause starts a process in a network namespace; it ends with its input,
// which is this process's.
func startPause(namespace string) error {
	ns, err := os.Open(namespace)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{actorEnv + "=pause"}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	pauses = append(pauses, in)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := within(ns, cmd.Start); err != nil {
		return err
	}
	// It is there when it answers.
	fmt.Fprintln(in, "listen tcp 127.0.0.1:0")
	_, err = bufio.NewReader(out).ReadString('\n')
	return err
}

var pauses []io.Closer
