package fence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The node's addresses are found from the pod alone: through the process that has
// started the pod's, here one that is on the node.
func TestNodeAddresses(t *testing.T) {
	w := newWorld(t)
	elsewhere := newNamespace(t)
	file := func(ns *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()) }
	// An agent that has started something in the pod, and the pod's own; whichever
	// is found first.
	w.outside("runtime of the agent").expect("ok", "start %s %s", file(elsewhere), file(w.pod))
	w.outside("runtime").expect("ok", "start %s", file(w.pod))
	got, err := nodeAddresses(w.pod, os.Getpid())
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

// startBelow starts a process in the first of the network namespaces, one below
// that in the second, and so on; each ends with its input, which is its parent's.
func startBelow(namespaces []string) error {
	ns, err := os.Open(namespaces[0])
	if err != nil {
		return err
	}
	defer ns.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{actorEnv + "=below"}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	below = append(below, in)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := within(ns, cmd.Start); err != nil {
		return err
	}
	// It is there when it answers.
	fmt.Fprintln(in, strings.Join(append([]string{"start"}, namespaces[1:]...), " "))
	answer, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, "ok") {
		err = errors.New(answer)
	}
	return err
}

var below []io.Closer
