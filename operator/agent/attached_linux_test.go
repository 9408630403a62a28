package agent

import (
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/tunnel"
)

// says answers every connection with one sentence.
func says(listener net.Listener, sentence string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, sentence)
		conn.Close()
	}
}

// answers waits until who asks for port 8080 within the pod is answered so.
func (w *nodeWorld) answers(want string) {
	w.t.Helper()
	freezetest.Until(w.t, "port 8080 is answered "+want, func() bool {
		said := ""
		w.network.In(func() error {
			conn, err := net.Dial("tcp", "127.0.0.1:8080")
			if err != nil {
				return nil
			}
			defer conn.Close()
			all, _ := io.ReadAll(conn)
			said = string(all)
			return nil
		})
		return said == want
	})
}

// An agent that attaches freezes nothing and refuses nobody; it has what the
// container has, and its ports while somebody listens on them.
func TestNodeAgentAttaches(t *testing.T) {
	w := newNodeWorld(t)
	listener := w.network.Listen("0.0.0.0:8080")
	go says(listener, "from the pod")
	p := w.agent(func(c *settings.Config) { c.Freeze.Attach, c.Freeze.Release = true, false })
	p.awaitReady()
	w.pod.Moves(w.target)
	c := p.connect()
	if welcome := c.Welcome(); !slices.Contains(welcome.Environment, "MARK=of the target") {
		t.Errorf("the environment is %q", welcome.Environment)
	}
	w.answers("from the pod")
	stolen, err := c.Listen(t.Context(), tunnel.ListenRequest{Network: "tcp", Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := stolen.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "from the owner")
			conn.Close()
		}
	}()
	w.answers("from the owner")
	if err := stolen.Close(); err != nil {
		t.Fatal(err)
	}
	w.answers("from the pod")
	w.pod.Moves(w.target)

	// The container is started again: the agent has the new one's surroundings.
	_ = w.target.Cmd.Process.Kill()
	_, dirs := w.pod.Another()
	again := w.start(dirs, "MARK=of the target started again")
	freezetest.Until(t, "the new container is looked at", func() bool {
		c := p.connect()
		defer c.Close()
		return slices.Contains(c.Welcome().Environment, "MARK=of the target started again")
	})
	w.pod.Moves(again)
	w.target = again

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.awaitExit(); err != nil {
		t.Errorf("it ended with %v, which proves nothing", err)
	}
	if !strings.Contains(p.stderr.String(), "let go in") {
		t.Errorf("it said\n%s", p.stderr)
	}
	w.checkThawed()
}

// An agent that is killed while it has a port leaves none of its rules: its guard
// takes them away.
func TestNodeAgentAttachedKilled(t *testing.T) {
	w := newNodeWorld(t)
	listener := w.network.Listen("0.0.0.0:8080")
	go says(listener, "from the pod")
	p := w.agent(func(c *settings.Config) { c.Freeze.Attach, c.Freeze.Release = true, false })
	p.awaitReady()
	if _, err := p.connect().Listen(t.Context(), tunnel.ListenRequest{Network: "tcp", Port: 8080}); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Kill()
	_ = p.awaitExit()
	w.answers("from the pod")
	w.checkThawed()
}
