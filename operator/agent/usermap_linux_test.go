package agent

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

// In a pod with hostUsers: false the rules count users as the pod does, and the
// process table as the node does: the fence spares whom it means.
func TestUsersOfTheNetwork(t *testing.T) {
	freezetest.NeedRoot(t)
	const node, inside = 100000, 1337
	script := `ip link set lo up; echo; read -r; exec setpriv --reuid 1337 --keep-groups bash -c 'while read -r; do if (exec 3<>/dev/tcp/127.0.0.1/9090) 2>/dev/null; then echo ok; else echo refused; fi; done'`
	cmd := exec.Command("bash", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: node, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: node, Size: 65536}},
		Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	fmt.Fprintln(in)
	users := func() []uint32 {
		found, err := usersOfAll([]int{cmd.Process.Pid})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	freezetest.Until(t, "it runs as its user", func() bool { return slices.Equal(users(), []uint32{node + inside}) })
	mapped, err := usersOfNetwork(path, []int{os.Getpid(), cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	spared := mapped.users(users())
	if !slices.Equal(spared, []uint32{inside}) {
		t.Errorf("user %v is %v in the pod", users(), spared)
	}
	network, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	f, err := fence.New(network, "users", fence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var listener net.Listener
	err = f.Within(func() (err error) {
		listener, err = net.Listen("tcp4", "127.0.0.1:9090")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, test := range []struct {
		users []uint32
		want  string
	}{{spared, "ok"}, {users(), "refused"}} {
		scope := fence.Scope{SparedUsers: test.users, Listeners: []fence.Listener{{At: netip.MustParseAddrPort("127.0.0.1:9090")}}}
		if err := f.Raise(scope); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(in)
		if said, err := out.ReadString('\n'); err != nil || said != test.want+"\n" {
			t.Errorf("with users %v spared it says %q, %v, want %s", test.users, said, err, test.want)
		}
	}

	if _, err := usersOfNetwork(path, []int{os.Getpid()}); err == nil {
		t.Error("without a process of the pod its users are said to be known")
	}
	if own, err := usersOfNetwork("/proc/self/ns/net", nil); err != nil || own != nil {
		t.Errorf("in this process's own user namespace users are translated: %v, %v", own, err)
	}
}

func TestUserMap(t *testing.T) {
	m, err := parseUserMap("         0     100000      65536\n     70000     200000          1\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.users([]uint32{200000, 100000, 165535, 200001, 0}); !slices.Equal(got, []uint32{0, unmapped, 65535, 70000}) {
		t.Errorf("got %v", got)
	}
	if _, err := parseUserMap("0 x 1\n"); err == nil {
		t.Error("a malformed line is taken")
	}
}
