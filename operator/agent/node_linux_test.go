package agent

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/record"
	"understudy.dev/understudy/operator/tunnel"
)

func playsRole() bool { return os.Getenv("FREEZE_TEST_ROLE") != "" }

func runRole(m *testing.M) { freezetest.Main(m, map[string]freezetest.Role{"sidecar": sidecar}) }

// nodeWorld is a pod on this machine: a network namespace, cgroups of two
// containers, and in each a process that counts.
type nodeWorld struct {
	t       *testing.T
	network *freezetest.Network
	pod     *freezetest.Pod
	// target and sidecar are the processes.
	target, sidecar *freezetest.Process
	state, once     string
}

func newNodeWorld(t *testing.T) *nodeWorld {
	t.Helper()
	freezetest.NeedRoot(t)
	w := &nodeWorld{t: t, network: freezetest.NewNetwork(t), pod: freezetest.NewPod(t, 1, 2), state: t.TempDir(), once: t.TempDir()}
	w.target = w.start(w.pod.Dirs, "MARK=of the target", "SHARED=1")
	_, dirs := w.pod.Another()
	w.sidecar = w.start(dirs, "MARK=of the sidecar")
	return w
}

// start starts a container's process.
func (w *nodeWorld) start(dirs map[int]string, env ...string) *freezetest.Process {
	w.t.Helper()
	var paths []string
	for _, dir := range dirs {
		paths = append(paths, dir)
	}
	return w.network.Start("count", paths, env...)
}

// agent starts the real program.
func (w *nodeWorld) agent(change func(*settings.Config)) *process {
	w.t.Helper()
	p := start(w.t, func(config *settings.Config, cmd *exec.Cmd) {
		config.Session = "session-" + w.pod.UID
		config.Freeze = &settings.Freeze{Pod: "shop/worker", PodUID: w.pod.UID, Container: "worker", ContainerID: w.pod.ID, Release: true}
		config.Ports = []tunnel.Port{{Network: "tcp", Port: 8080, Why: "declared"}}
		if change != nil {
			change(config)
		}
		cmd.Args = []string{cmd.Args[0], "node", "--config-dir=" + strings.TrimPrefix(cmd.Args[2], "--config-dir="), "--once-dir=" + w.once, "--state-dir=" + w.state}
	})
	p.ask = filepath.Join(w.once, settings.ReadySocket)
	return p
}

func (p *process) awaitReady() {
	p.t.Helper()
	freezetest.Until(p.t, "the agent is ready", func() bool {
		select {
		case err := <-p.exited:
			p.exited <- err
			p.t.Fatalf("the agent ended: %v", err)
		default:
		}
		_, ok := p.ready()
		return ok
	})
}

// isReady asks the agent.
func (p *process) isReady() bool {
	_, ok := p.ready()
	return ok
}

func (p *process) awaitExit() error {
	p.t.Helper()
	select {
	case err := <-p.exited:
		p.exited <- err
		return err
	case <-time.After(30 * time.Second):
		p.t.Fatal("the agent does not end")
		return nil
	}
}

// checkThawed is what must hold after every end.
func (w *nodeWorld) checkThawed() {
	w.t.Helper()
	w.pod.Moves(w.target)
	freezetest.Until(w.t, "no rules are left", func() bool {
		names, err := fence.Sessions(w.network.File())
		return err == nil && len(names) == 0
	})
	freezetest.Until(w.t, "no record is left", func() bool {
		records, err := record.Dir(w.state).List()
		return err == nil && len(records) == 0
	})
}

func TestNodeAgent(t *testing.T) {
	w := newNodeWorld(t)
	p := w.agent(func(c *settings.Config) { c.Ports = append(c.Ports, tunnel.Port{Network: "udp", Port: 8125}) })
	p.awaitReady()
	w.pod.Still(w.target)
	w.pod.Moves(w.sidecar)
	c := p.connect()
	welcome := c.Welcome()
	if !slices.Contains(welcome.Environment, "MARK=of the target") || slices.Contains(welcome.Environment, "MARK=of the sidecar") {
		t.Errorf("the environment is %q", welcome.Environment)
	}
	if welcome.Hostname == "" || !strings.HasPrefix(welcome.WorkingDir, "/") {
		t.Errorf("greeted with %+v", welcome)
	}

	// The pod's network is the owner's.
	listener := w.network.Listen("127.0.0.1:0")
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			io.WriteString(conn, "from the pod")
			conn.Close()
		}
	}()
	conn, err := c.DialTCP(t.Context(), netip.MustParseAddrPort(listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); err != nil || string(said) != "from the pod" {
		t.Errorf("read %q, %v", said, err)
	}

	// What comes in for the container comes to the owner.
	stolen, err := c.Listen(t.Context(), tunnel.ListenRequest{Network: "tcp", Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := stolen.Accept()
		if err == nil {
			io.WriteString(conn, "from the owner")
			conn.Close()
		}
	}()
	w.network.In(func() error {
		// Marked, as who is not of the pod is not fenced.
		conn, err := net.Dial("tcp", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		defer conn.Close()
		if said, err := io.ReadAll(conn); err != nil || string(said) != "from the owner" {
			t.Errorf("from the pod one reads %q, %v", said, err)
		}
		return nil
	})

	// And so does what is sent to a port of UDP that it still has.
	var taken net.PacketConn
	w.network.In(func() (err error) {
		taken, err = net.ListenPacket("udp4", "0.0.0.0:8125")
		return err
	})
	defer taken.Close()
	port, err := c.Listen(t.Context(), tunnel.ListenRequest{Network: "udp", Port: 8125})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		flow, err := port.AcceptFlow()
		if err == nil {
			_, _ = flow.Write([]byte("from the owner"))
		}
	}()
	w.network.In(func() error {
		said, err := ask("udp", netip.MustParseAddrPort("127.0.0.1:8125"))
		if err != nil || said != "from the owner" {
			t.Errorf("from the pod one reads %q, %v", said, err)
		}
		return nil
	})

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.awaitExit(); err != nil {
		t.Errorf("it ended with %v, which proves nothing", err)
	}
	w.checkThawed()
}

// However it ends, the container goes on, and the exit code is the proof. Who
// thawed is said by the agent, or by the one that the kubelet starts again.
func TestNodeAgentEnds(t *testing.T) {
	for name, test := range map[string]struct {
		lease int
		end   func(*nodeWorld, *process)
		// proved: it ends with code 0.
		proved bool
		// by is who thawed, as a regular expression.
		by string
	}{
		"asked to": {lease: 60, proved: true, by: "thawed by the agent in [0-9]+ ms: it was asked to end", end: func(_ *nodeWorld, p *process) {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		}},
		"its owner says that it is over": {lease: 60, proved: true, by: "thawed by the agent in [0-9]+ ms: its owner has said", end: func(_ *nodeWorld, p *process) {
			c := p.connect()
			if err := c.End(p.t.Context()); err != nil && !errors.Is(err, tunnel.ErrClosed) {
				p.t.Error(err)
			}
		}},
		// Agent and guard go by the same deadline.
		"the lease runs out": {lease: 2, proved: true, by: "thawed by the (agent|guard).*: the lease has run out", end: func(*nodeWorld, *process) {}},
		// The agent cannot act: it is stopped, and goes on when all is over.
		"the lease runs out and it is stopped": {lease: 2, proved: true, by: `thawed by the guard \(the lease has run out\), seen by the agent in`, end: func(w *nodeWorld, p *process) {
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			w.checkThawed()
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
		}},
		"killed": {lease: 60, by: `thawed by the guard \(the agent has (ended|closed the connection)\), seen by the agent, started again`, end: func(_ *nodeWorld, p *process) {
			_ = p.cmd.Process.Kill()
		}},
		"its guard is killed, then it is": {lease: 60, by: `thawed by the guard \(the agent has (ended|closed the connection)\), seen by the agent, started again`, end: func(w *nodeWorld, p *process) {
			was := w.guard()
			_ = syscall.Kill(was, syscall.SIGKILL)
			freezetest.Until(w.t, "there is another guard", func() bool { now := w.guard(); return now != 0 && now != was })
			w.pod.Still(w.target)
			_ = p.cmd.Process.Kill()
		}},
		// Only the one that is started again is left.
		"both are killed at once": {lease: 60, by: "thawed by the agent, started again$", end: func(w *nodeWorld, p *process) {
			// The guard first, and the agent before it can have made another.
			guard := w.guard()
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			_ = syscall.Kill(guard, syscall.SIGKILL)
			_ = p.cmd.Process.Kill()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			p := w.agent(func(c *settings.Config) { c.LeaseSeconds = test.lease })
			p.awaitReady()
			test.end(w, p)
			if err := p.awaitExit(); (err == nil) != test.proved {
				t.Errorf("it ended with %v", err)
			}
			said := p.stderr.String()
			if !test.proved {
				if strings.HasSuffix(test.by, "again$") {
					w.pod.Still(w.target)
				} else {
					w.checkThawed()
				}
				said = w.startedAgain(p)
			}
			w.checkThawed()
			if by := saidAtTheEnd(said); !regexp.MustCompile(test.by).MatchString(by) {
				t.Errorf("it says %q, not %q", by, test.by)
			}
			// Whoever looks later, as when that was not read, hears the same.
			again := saidAtTheEnd(w.startedAgain(p))
			if test.proved && !strings.HasPrefix(again, "nothing was frozen any more") || !test.proved && again != saidAtTheEnd(said) {
				t.Errorf("started again after that it says %q", again)
			}
		})
	}
}

// startedAgain is what the agent says when the kubelet starts it again: it thaws,
// and does not freeze.
func (w *nodeWorld) startedAgain(p *process) string {
	w.t.Helper()
	out, err := exec.Command(p.path, "node", "--config-dir="+p.dir, "--once-dir="+w.once, "--state-dir="+w.state).CombinedOutput()
	if err != nil {
		w.t.Fatalf("started again it ends with %v: %s", err, out)
	}
	return string(out)
}

// saidAtTheEnd is an agent's last word, out of its log.
func saidAtTheEnd(log string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Said string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "agent ended" {
			return entry.Said
		}
	}
	return ""
}

func TestWhoThawed(t *testing.T) {
	guard, self := record.Word{By: "the guard", Why: "it says why"}, record.Word{By: "X"}
	for _, test := range []struct {
		found int
		words []record.Word
		want  string
	}{
		{0, nil, "nothing was frozen any more, seen by X"},
		{1, nil, "thawed by X"},
		{1, []record.Word{self}, "thawed by X"},
		{0, []record.Word{self}, "thawed by X"},
		{0, []record.Word{guard}, "thawed by the guard (it says why), seen by X"},
		{2, []record.Word{guard}, "thawed by X and the guard (it says why)"},
		{0, []record.Word{{By: "Y"}, guard}, "thawed by Y, seen by X"},
	} {
		if got := whoThawed("X", test.found, test.words); got != test.want {
			t.Errorf("%d, %v: got %q, want %q", test.found, test.words, got, test.want)
		}
	}
}

// guard is the process that watches over the session, as the record has it.
func (w *nodeWorld) guard() int {
	r, err := record.Dir(w.state).Read("session-" + w.pod.UID)
	if err != nil {
		return 0
	}
	return r.Guard.PID
}

// On a node with both hierarchies it freezes in the one that it is told, and each
// net thaws there.
func TestNodeAgentFreezer(t *testing.T) {
	for freezer, frozen := range map[string]struct{ file, word string }{
		"v1": {"freezer.state", "FROZEN"}, "v2": {"cgroup.events", "frozen 1"},
	} {
		for how, signal := range map[string]syscall.Signal{"asked to end": syscall.SIGTERM, "killed": syscall.SIGKILL} {
			t.Run(freezer+" "+how, func(t *testing.T) {
				w := newNodeWorld(t)
				p := w.agent(func(c *settings.Config) { c.Freeze.Freezer = freezer })
				p.awaitReady()
				w.pod.Still(w.target)
				w.pod.Moves(w.sidecar)
				in := map[string]string{}
				for _, dir := range w.pod.Dirs {
					for _, file := range []string{"freezer.state", "cgroup.events"} {
						if data, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
							in[file] = string(data)
						}
					}
				}
				for file, text := range in {
					is := strings.Contains(text, "FROZEN") || strings.Contains(text, "frozen 1")
					if is != (file == frozen.file) {
						t.Errorf("it is to freeze in %s, and %s says %q", freezer, file, text)
					}
				}
				if len(in) != 2 || !strings.Contains(in[frozen.file], frozen.word) {
					t.Errorf("the freezers say %q", in)
				}
				_ = p.cmd.Process.Signal(signal)
				_ = p.awaitExit()
				w.checkThawed()
			})
		}
	}
}

// One that only thaws, of whom there is no record either.
func TestThawWithoutRecord(t *testing.T) {
	w := newNodeWorld(t)
	freezetest.Put(filepath.Join(w.pod.Dirs[2], "cgroup.freeze"), "1")
	w.pod.Still(w.target)
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "thaw", "--pod="+w.pod.UID, "--state-dir="+w.state).CombinedOutput()
	if err != nil || saidAtTheEnd(string(out)) != "thawed by an agent that only thaws" {
		t.Fatalf("%v: %s", err, out)
	}
	w.checkThawed()
}

// A record that cannot be read keeps no other pod's thaw from its proof, and not
// even its own pod frozen.
func TestThawBesideUnreadableRecord(t *testing.T) {
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		uid    string
		proved bool
	}{"another pod's": {"another", true}, "this pod's": {"", false}} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			uid := test.uid
			if uid == "" {
				uid = w.pod.UID
			}
			bad := filepath.Join(w.state, "strange.json")
			if err := os.WriteFile(bad, []byte(`{"format":99,"podUID":"`+uid+`"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			freezetest.Put(filepath.Join(w.pod.Dirs[2], "cgroup.freeze"), "1")
			w.pod.Still(w.target)
			out, err := exec.Command(path, "thaw", "--pod="+w.pod.UID, "--state-dir="+w.state).CombinedOutput()
			if (err == nil) != test.proved {
				t.Errorf("%v: %s", err, out)
			}
			if !test.proved && !strings.Contains(string(out), bad) {
				t.Errorf("it does not say which: %s", out)
			}
			w.pod.Moves(w.target)
			// Of the whole node it proves nothing.
			if out, err := exec.Command(path, "thaw", "--state-dir="+w.state).CombinedOutput(); err == nil {
				t.Errorf("of the node: %s", out)
			}
		})
	}
}

// A container that is started again in the place of the frozen one is frozen. That
// it cannot connect before that is the fence's, which is tried in operator/fence
// (TestFence: "It is started again").
func TestRestartedContainerIsFrozen(t *testing.T) {
	w := newNodeWorld(t)
	p := w.agent(nil)
	p.awaitReady()
	_ = w.target.Cmd.Process.Kill()
	freezetest.Until(t, "the container is gone", func() bool {
		data, err := os.ReadFile(filepath.Join(w.pod.Dirs[2], "cgroup.procs"))
		return err != nil || len(data) == 0
	})
	_, dirs := w.pod.Another()
	again := w.start(dirs, "MARK=of the target started again")
	frozen := func() bool {
		data, _ := os.ReadFile(filepath.Join(dirs[2], "cgroup.events"))
		return strings.Contains(string(data), "frozen 1")
	}
	freezetest.Until(t, "the new container is frozen", frozen)
	w.pod.Still(again)
	w.pod.Moves(w.sidecar)
	if env := p.connect().Welcome().Environment; !slices.Contains(env, "MARK=of the target started again") {
		t.Errorf("the environment is %q", env)
	}
	w.target = again
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.awaitExit(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	w.checkThawed()
}

func TestParseEnviron(t *testing.T) {
	got := parseEnviron([]byte("A=1\x00B=x=y\x00\x00nothing\x00=odd\x00C=\n\x00"))
	if want := []string{"A=1", "B=x=y", "C=\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBeenHere(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []bool{false, true, true} {
		if got, err := beenHere(dir); err != nil || got != want {
			t.Errorf("time %d: %v, %v", i, got, err)
		}
	}
	if _, err := beenHere(filepath.Join(dir, "nothing")); err == nil {
		t.Error("where no mark can be left it goes on")
	}
}
