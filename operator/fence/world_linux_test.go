package fence

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The test's binary is also the containers' processes.
const actorEnv = "UNDERSTUDY_FENCE_TEST_ACTOR"

// The first thread is kept from those that change their namespace: it would not
// end with them.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if name := os.Getenv(actorEnv); name != "" {
		act(name)
		return
	}
	os.Exit(m.Run())
}

// patience of an actor with the network. Nothing of what is expected to come takes
// as long; only what is not to come is waited for so long.
const patience = 10 * time.Second

// act obeys commands from stdin, one a line, and answers each with a line:
//
//	listen NETWORK ADDRESS       greets each connection or datagram with its name and both addresses, then echoes
//	dial NETWORK ADDRESS [FROM]  says how that went, and the greeting
//	keep NETWORK ADDRESS         the same and keeps the connection
//	sctp ADDRESS                 sends what an association begins with
//	get URL                      as a kubelet's probe that was passed on
//	level ROOT                   what the kernel's count of levels is off by
//	start NAMESPACE...           a process in that network namespace, one below it in the next
//	say                          on the connection kept: is there an echo?
func act(name string) {
	var kept net.Conn
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		var answer string
		switch words[0] {
		case "listen":
			answer = outcome("", listen(name, words[1], words[2]))
		case "sctp":
			answer = outcome("", associate(words[1]))
		case "get":
			answer = outcome("", get(words[1]))
		case "level":
			offset, err := levelOffset(words[1])
			answer = outcome(fmt.Sprint(offset), err)
		case "start":
			var err error
			if len(words) > 1 {
				err = startBelow(words[1:])
			}
			answer = outcome("", err)
		case "dial", "keep":
			conn, greeting, err := dial(words[1], words[2], strings.Join(words[3:], ""))
			answer = outcome(greeting, err)
			if words[0] == "keep" {
				kept = conn
			} else if conn != nil {
				conn.Close()
			}
		case "say":
			_, err := fmt.Fprintln(kept, "hello")
			var echo string
			if err == nil {
				kept.SetReadDeadline(time.Now().Add(patience))
				echo, err = bufio.NewReader(kept).ReadString('\n')
			}
			answer = outcome(strings.TrimSpace(echo), err)
		}
		fmt.Println(answer)
	}
}

func outcome(text string, err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return strings.TrimSpace("ok " + text)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EPERM): // the latter is said to who sends a datagram
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return "reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

// associate sends an SCTP packet with an INIT chunk, by hand, as this kernel may not
// have the protocol.
func associate(address string) error {
	conn, err := net.Dial("ip:132", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte{1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4})
	return err
}

func get(url string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/1.37")
	client := http.Client{Timeout: patience}
	response, err := client.Do(request)
	if err == nil {
		response.Body.Close()
	}
	return err
}

func listen(name, network, address string) error {
	if strings.HasPrefix(network, "udp") {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		go func() {
			buffer := make([]byte, 1500)
			for {
				n, from, err := conn.ReadFrom(buffer)
				if err != nil {
					continue
				}
				if string(buffer[:n]) == "hi" {
					n = copy(buffer, fmt.Sprintf("%s %s %s\n", name, conn.LocalAddr(), from))
				}
				_, _ = conn.WriteTo(buffer[:n], from)
			}
		}()
		return nil
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	go serve(listener, name)
	return nil
}

// serve greets whoever connects, and echoes.
func serve(listener net.Listener, name string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			fmt.Fprintf(conn, "%s %s %s\n", name, conn.LocalAddr(), conn.RemoteAddr())
			_, _ = io.Copy(conn, conn)
		}()
	}
}

func dial(network, address, from string) (net.Conn, string, error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		if strings.HasPrefix(network, "udp") {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		}
	}
	conn, err := dialer.Dial(network, address)
	if err != nil {
		return nil, "", err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if strings.HasPrefix(network, "udp") {
		if _, err := fmt.Fprint(conn, "hi"); err != nil {
			conn.Close()
			return nil, "", err
		}
	}
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		conn.Close()
		return nil, "", err
	}
	conn.SetDeadline(time.Time{})
	return conn, strings.TrimSpace(greeting), nil
}

// The addresses of a world. kubelet is the node's, stranger another pod's.
var (
	kubelet4, kubelet6   = netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")
	stranger4, stranger6 = netip.MustParseAddr("10.77.0.9"), netip.MustParseAddr("fd77::9")
	pod4, pod6           = netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")
)

// world is a node and a pod on it: two network namespaces joined by a veth pair,
// and the pod's cgroup.
type world struct {
	t         *testing.T
	node, pod *os.File
	root      string // of the hierarchy
	group     string // of the pod
	actors    int
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	t.Skip("needs root: it makes network namespaces and cgroups")
}

func newWorld(t *testing.T) *world {
	needRoot(t)
	w := &world{t: t}
	w.node, w.pod = newNamespace(t), newNamespace(t)
	w.must("joining node and pod", within(w.node, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "pod"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(w.pod.Fd())})
	}))
	w.must("addressing the node", within(w.node, func() error { return up("pod", kubelet4, stranger4, kubelet6, stranger6) }))
	w.must("addressing the pod", within(w.pod, func() error { return up("eth0", pod4, pod6) }))
	root, err := Hierarchy()
	if err != nil {
		t.Skipf("no cgroup version 2 here: %v", err)
	}
	w.root = root
	w.group = fmt.Sprintf("/understudy-fence-test/pod%d-%d", os.Getpid(), time.Now().UnixNano())
	w.must("making the pod's cgroup", os.MkdirAll(filepath.Join(root, w.group), 0o755))
	t.Cleanup(func() {
		os.Remove(filepath.Join(root, w.group))
		os.Remove(filepath.Dir(filepath.Join(root, w.group)))
	})
	return w
}

// up brings loopback and an interface with these addresses up. Called within the
// namespace.
func up(name string, addrs ...netip.Addr) error {
	for _, each := range []string{"lo", name} {
		link, err := netlink.LinkByName(each)
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			return fmt.Errorf("bringing %s up: %w", each, err)
		}
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		bits := 24
		if addr.Is6() {
			bits = 64
		}
		block := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: block, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("adding %s: %w", addr, err)
		}
	}
	return nil
}

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func newNamespace(t *testing.T) *os.File {
	t.Helper()
	var ns *os.File
	err := inEmptyNamespace(func() (err error) {
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// actor is a process in one of the namespaces.
type actor struct {
	t     *testing.T
	in    io.Writer
	out   *bufio.Reader
	group string
	stop  func()
}

// container starts a process in the pod, in a cgroup of its own.
func (w *world) container(name string, user uint32) *actor {
	w.t.Helper()
	return w.containerWith(name, syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}})
}

func (w *world) containerWith(name string, attributes syscall.SysProcAttr) *actor {
	w.t.Helper()
	w.actors++
	group := fmt.Sprintf("%s/%s-%d", w.group, name, w.actors)
	dir := filepath.Join(w.root, group)
	w.must("making a container's cgroup", os.Mkdir(dir, 0o755))
	handle, err := os.Open(dir)
	w.must("opening a container's cgroup", err)
	defer handle.Close()
	attributes.UseCgroupFD, attributes.CgroupFD, attributes.Pdeathsig = true, int(handle.Fd()), syscall.SIGKILL
	a := w.start(w.pod, name, &attributes)
	a.group = group
	stop := a.stop
	a.stop = func() { stop(); os.Remove(dir) }
	w.t.Cleanup(a.stop)
	return a
}

// outside starts a process on the node that is in no pod.
func (w *world) outside(name string) *actor {
	a := w.start(w.node, name, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
	w.t.Cleanup(a.stop)
	return a
}

func (w *world) start(ns *os.File, name string, attributes *syscall.SysProcAttr) *actor {
	w.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{actorEnv + "=" + name}
	cmd.SysProcAttr = attributes
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	w.must("starting "+name, err)
	out, err := cmd.StdoutPipe()
	w.must("starting "+name, err)
	// The thread that starts it has to live as long as it, because of Pdeathsig.
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	w.must("starting "+name, <-started)
	return &actor{t: w.t, in: in, out: bufio.NewReader(out), stop: func() { _ = cmd.Process.Kill(); <-ended }}
}

// ask sends a command and returns the answer.
func (a *actor) ask(format string, arguments ...any) string {
	a.t.Helper()
	if _, err := fmt.Fprintf(a.in, format+"\n", arguments...); err != nil {
		a.t.Fatalf("asking an actor: %v", err)
	}
	answer, err := a.out.ReadString('\n')
	if err != nil {
		a.t.Fatalf("asking an actor: %v", err)
	}
	return strings.TrimSpace(answer)
}

// expect fails unless the answer begins with want.
func (a *actor) expect(want, format string, arguments ...any) string {
	a.t.Helper()
	answer := a.ask(format, arguments...)
	if !strings.HasPrefix(answer, want) {
		a.t.Errorf("%s: %q, want %q", fmt.Sprintf(format, arguments...), answer, want)
	}
	return answer
}

// fence of the pod, lowered at the test's end.
func (w *world) fence(session string) *Fence {
	w.t.Helper()
	f, err := New(w.pod, session, Options{Nodes: []netip.Addr{kubelet4, kubelet6}})
	w.must("making a fence", err)
	w.t.Cleanup(func() { f.Close() })
	return f
}

// scope fences all but the spared containers.
func (w *world) scope(target *actor, spared ...*actor) Scope {
	w.t.Helper()
	var groups []string
	for _, a := range spared {
		groups = append(groups, a.group)
	}
	scope, err := ScopeOf(w.root, target.group, groups...)
	w.must("looking at the cgroups", err)
	return scope
}

// clean fails if there is a rule left.
func (w *world) clean() {
	w.t.Helper()
	if left, err := Sessions(w.pod); err != nil || len(left) > 0 {
		w.t.Errorf("rules are left of sessions %q, %v", left, err)
	}
}

var families = []struct {
	name                   string
	pod, kubelet, stranger netip.Addr
	loopback               netip.Addr
}{
	{"IPv4", pod4, kubelet4, stranger4, loopback4.Addr().Next()},
	{"IPv6", pod6, kubelet6, stranger6, loopback6.Addr()},
}

func at(addr netip.Addr, port uint16) string { return netip.AddrPortFrom(addr, port).String() }

// agentDials is a connection of the agent's own, from within the pod.
func (w *world) agentDials(network, address string, control func(string, string, syscall.RawConn) error) string {
	var text string
	_ = within(w.pod, func() error {
		dialer := net.Dialer{Timeout: patience, Control: control}
		// Not happy eyeballs: those dial on other threads.
		conn, err := dialer.DialContext(context.Background(), network, address)
		if err != nil {
			text = outcome("", err)
			return nil
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if strings.HasPrefix(network, "udp") {
			_, err = fmt.Fprint(conn, "hi")
		}
		var greeting string
		if err == nil {
			greeting, err = bufio.NewReader(conn).ReadString('\n')
		}
		text = outcome(strings.TrimSpace(greeting), err)
		return nil
	})
	return text
}
