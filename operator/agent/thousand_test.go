package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

// What an agent's container gets, and what of it the agent's own memory may
// take: the rest is for the kernel's side of its connections, for the probes and
// for as much of the program's file as it needs at a time. The file's pages
// themselves are cache, which the kernel takes back: they are no part of this.
const (
	containerMemory = 32 << 20
	ownMemory       = 28 << 20
)

// anonymous is the process's own memory, in bytes.
func (p *process) anonymous() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.t.Fatal("the agent has no memory any more")
	}
	return kib << 10
}

// A thousand connections, idle, and then with all windows full in both
// directions as nobody reads; probed all the while, by processes that share the
// container's memory.
func TestMemoryOfAThousandConnections(t *testing.T) {
	const connections = 1000
	box, noBox := newBox(t, containerMemory)
	p := start(t, func(config *settings.Config, cmd *exec.Cmd) {
		config.ShareTraffic = true
		if box != nil {
			box.put(t, cmd)
		}
	})
	c := p.connect()
	// An agent that is no more is a failure, not a reason to wait for it.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.SetReady(ctx, true); err != nil {
		t.Fatal(err)
	}
	to, stuff := stubborn(t)
	conns := make([]tunnel.Conn, connections)
	for i := range conns {
		var err error
		if conns[i], err = c.DialTCP(ctx, to); err != nil {
			t.Fatal(err)
		}
	}
	idle := p.anonymous()
	t.Logf("idle: %.1f MiB", float64(idle)/(1<<20))
	if idle > ownMemory {
		t.Errorf("%d connections, idle, take %d bytes", connections, idle)
	}

	var group sync.WaitGroup
	for _, conn := range conns {
		group.Go(func() {
			conn.SetWriteDeadline(time.Now().Add(3 * time.Second))
			io.CopyN(conn, zeros{}, 4<<20)
		})
	}
	stuff()
	most, probes := 0, 0
	for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline); probes++ {
		most = max(most, p.anonymous())
		probe := exec.Command(p.path, "ready", "--config-dir="+p.dir)
		if box != nil {
			box.put(t, probe)
		}
		if out, err := probe.CombinedOutput(); err != nil && !strings.Contains(string(out), "i/o timeout") {
			t.Fatalf("probe %d: %v: %s", probes, err, out)
		}
	}
	group.Wait()
	t.Logf("standing still: %.1f MiB, %d probes", float64(most)/(1<<20), probes)
	if most > ownMemory {
		t.Errorf("%d connections that stand still take %d bytes", connections, most)
	}
	for _, conn := range conns {
		conn.Reset()
	}
	if _, err := c.DialTCP(ctx, to); err != nil {
		t.Errorf("one more connection after all that: %v", err)
	}
	t.Run("container", func(t *testing.T) {
		if box == nil {
			t.Skip(noBox)
		}
		t.Logf("%s bytes of %d at most", box.most(), containerMemory)
		p.cmd.Process.Signal(syscall.SIGTERM)
		err := <-p.exited
		p.exited <- err
		if err != nil {
			t.Errorf("the agent ended with %v", err)
		}
		if !strings.Contains(p.stderr.String(), "memory limited") {
			t.Error("the agent has not seen its container's limit")
		}
		if n := box.killed(t); n > 0 {
			t.Errorf("%d processes were killed for want of memory", n)
		}
	})
}

// stubborn is a server that reads nothing, and writes a lot to each of its
// connections once it is told to.
func stubborn(t *testing.T) (at netip.AddrPort, write func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stuff := make(chan struct{})
	write = sync.OnceFunc(func() { close(stuff) })
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// Small buffers, so that what stands still stands in the agent.
			conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			group.Go(func() {
				defer conn.Close()
				<-stuff
				io.CopyN(conn, zeros{}, 256<<10)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		write()
		group.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort(), write
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
