package boundary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// configVariable makes the test's binary a program with a stage, whose line is
// drawn by what it says (JSON), and which runs its arguments there.
const configVariable = "BOUNDARY_TEST_CONFIG"

func TestMain(m *testing.M) {
	stage.Main()
	if text, ok := os.LookupEnv(configVariable); ok {
		os.Exit(perform(text))
	}
	os.Exit(m.Run())
}

// forbidden is what perform exits with where no stage can be built.
const forbidden = 99

func perform(text string) int {
	front, err := stage.Split(stage.SplitOptions{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	err = onStage(front, text)
	switch {
	case errors.Is(err, stage.ErrForbidden):
		fmt.Fprintln(os.Stderr, err)
		return forbidden
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func onStage(front *stage.Front, text string) error {
	var c config.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	line, err := New(&c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := tunnel.Welcome{
		Hostname: "worker-x", Addresses: []netip.Addr{netip.MustParseAddr("10.98.0.1")},
		Files: []tunnel.File{
			{Path: "/etc/resolv.conf", Mode: 0o644, Data: []byte("nameserver 10.96.0.10\n")},
			{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.0.1 localhost\n")},
		},
	}
	built, err := front.Build(ctx, line.Remote(emptyPod{}), stage.Options{Welcome: line.Welcome(w), DoNotPublish: true})
	if err != nil {
		return err
	}
	defer built.Close()
	go line.Follow(ctx, func() []tunnel.Endpoint { return nil }, func(endpoints []tunnel.Endpoint) {
		_ = built.SetLoopbackPorts(ctx, endpoints)
	})
	if err := built.Run(ctx, stage.Command{Args: os.Args[1:], Env: os.Environ()}); err != nil {
		return err
	}
	status, err := built.Wait(ctx)
	if err == nil && status.ExitCode() != 0 {
		err = errors.New(status.String())
	}
	return err
}

// emptyPod is a pod in whose network nobody answers.
type emptyPod struct{ stage.Remote }

func (emptyPod) DialTCP(context.Context, netip.AddrPort) (tunnel.Conn, error) {
	return nil, tunnel.ErrRefused
}

func (emptyPod) DialUDP(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, tunnel.ErrRefused
}

// play runs a shell's script on a stage, and returns what it says.
func play(t *testing.T, c *config.Config, script string) string {
	t.Helper()
	for _, program := range []string{"bash", "getent"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("SKIPPED: ", err)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bash", "-c", script)
	cmd.Env = append(os.Environ(), configVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == forbidden {
		t.Skipf("SKIPPED: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestOnStage: programs on a real stage reach what of this machine the line
// gives them, and nothing else.
func TestOnStage(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "this machine\n")
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	looksUp := false
	if addresses, err := net.LookupHost(hostname); err == nil && len(addresses) > 0 {
		looksUp = true
	}
	script := fmt.Sprintf(`
cat </dev/tcp/127.0.0.1/%s || echo nobody
getent ahostsv4 %s >/dev/null && echo known || echo unknown
hostname`, port, hostname)
	for name, tc := range map[string]struct {
		change func(*config.Config)
		want   []string
	}{
		"the pod's world":    {func(*config.Config) {}, []string{"nobody", "unknown", "worker-x"}},
		"a port of loopback": {func(c *config.Config) { c.Outgoing.Filter.Local = []string{"localhost:" + port} }, []string{"this machine", "unknown", "worker-x"}},
		"another port":       {func(c *config.Config) { c.Outgoing.Filter.Local = []string{"localhost:1"} }, []string{"nobody", "unknown", "worker-x"}},
		"localhost":          {func(c *config.Config) { c.Outgoing.IgnoreLocalhost = true }, []string{"this machine", "unknown", "worker-x"}},
		"a name":             {func(c *config.Config) { c.Names.Filter.Local = []string{hostname} }, []string{"nobody", "known", "worker-x"}},
		"this machine's world": {func(c *config.Config) {
			c.Names.Enabled, c.Outgoing.TCP, c.Outgoing.UDP, c.Hostname = false, false, false, false
		}, []string{"this machine", "known", hostname}},
	} {
		t.Run(name, func(t *testing.T) {
			c := usual()
			tc.change(c)
			if !looksUp && tc.want[1] == "known" {
				t.Skip("SKIPPED: this machine does not know its own name")
			}
			said := play(t, c, script)
			for _, want := range tc.want {
				if !strings.Contains("\n"+said, "\n"+want+"\n") {
					t.Errorf("nobody said %q:\n%s", want, said)
				}
			}
		})
	}
}
