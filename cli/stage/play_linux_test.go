package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/tunnel"
)

// nobody is a user who is not root and owns nothing.
const nobody = 65534

// patience for what must happen; nothing that works takes a tenth of it.
const patience = 20 * time.Second

// player is who runs a program with a stage, and with which device.
type player struct {
	name   string
	uid    int
	device Device
}

// players are all who can play on this machine: root with both devices, and
// an ordinary user with the devices as they are.
func players(t testing.TB) []player {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: only this user plays")
		return []player{{"self", os.Getuid(), DeviceAuto}}
	}
	all := []player{{"root-veth", 0, DeviceVeth}, {"nobody", nobody, DeviceAuto}}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Log("no /dev/net/tun: nobody plays with a TUN device")
		return all
	}
	return append(all, player{"root-tun", 0, DeviceTUN})
}

// eachPlayer runs a test for each of them.
func eachPlayer(t *testing.T, test func(t *testing.T, p player)) {
	for _, p := range players(t) {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// binaries are this test's own and the client's, where every user may execute
// them.
var binaries = sync.OnceValues(func() (string, error) {
	directory, err := os.MkdirTemp("", "stage")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(directory, 0o755); err != nil {
		return "", err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(directory+"/program", self, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", directory+"/client", "./testdata/client")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return directory, nil
})

func removeBinaries() {
	if directory, err := binaries(); err == nil {
		os.RemoveAll(directory)
	}
}

func program(t testing.TB) string { t.Helper(); return built(t, "program") }
func client(t testing.TB) string  { t.Helper(); return built(t, "client") }

func built(t testing.TB, name string) string {
	t.Helper()
	directory, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(directory, name)
}

// shared is a directory in which any user may write.
func shared(t testing.TB) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "stage")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	if err := os.Chmod(directory, 0o777); err != nil {
		t.Fatal(err)
	}
	return directory
}

func welcome() tunnel.Welcome {
	return tunnel.Welcome{
		Hostname:  "worker-0",
		Addresses: podAddresses,
		Files: []tunnel.File{
			{Path: "/etc/resolv.conf", Mode: 0o644, Data: []byte("search shop.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n")},
			{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.0.1 localhost\n10.98.0.1 worker-0\n10.96.0.44 from-hosts\n")},
			{Path: "/etc/hostname", Mode: 0o644, Data: []byte("worker-0\n")},
		},
	}
}

// command is a program with a stage on which args run, not started yet.
func command(t testing.TB, p player, s script, args ...string) *exec.Cmd {
	t.Helper()
	s.Device = p.device
	if s.Welcome.Hostname == "" {
		s.Welcome = welcome()
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program(t), args...)
	c.Dir = "/"
	c.Env = append(os.Environ(), scriptVariable+"="+string(text))
	if p.uid != os.Getuid() {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.uid)}}
		c.Env = append(c.Env, "HOME=/nonexistent")
	}
	return c
}

// output runs args on a stage to their end.
func output(t testing.TB, p player, s script, args ...string) string {
	t.Helper()
	c := command(t, p, s, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("running %q: %v\n%s%s", args, err, stdout.String(), stderr.String())
	}
	if stderr.Len() > 0 {
		t.Logf("stderr of %q: %s", args, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// show is a program that runs while the test looks at it.
type show struct {
	*exec.Cmd
	t     testing.TB
	stdin io.WriteCloser

	mu    sync.Mutex
	said  bytes.Buffer
	ended chan struct{}
}

func (s *show) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(b)
}

func (s *show) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// begin starts a program; in the end it is killed if it has not ended.
func begin(t testing.TB, c *exec.Cmd) *show {
	t.Helper()
	s := &show{Cmd: c, t: t, ended: make(chan struct{})}
	var err error
	if s.stdin, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = s, s
	// What survives would hold the pipes open.
	c.WaitDelay = patience
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.Wait(); close(s.ended) }()
	t.Cleanup(func() {
		c.Process.Kill()
		<-s.ended
	})
	return s
}

// expect waits until the program has said something, and returns the words that
// follow it on its line.
func (s *show) expect(text string) string {
	s.t.Helper()
	eventually(s.t, func() error {
		if !strings.Contains(s.text(), text) {
			return fmt.Errorf("%q was not said, but:\n%s", text, s.text())
		}
		return nil
	})
	_, rest, _ := strings.Cut(s.text(), text)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// exitCode waits for the end.
func (s *show) exitCode() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("it has not ended; it said:\n%s", s.text())
	}
	return s.ProcessState.ExitCode()
}

// eventually waits for a condition.
func eventually(t testing.TB, condition func() error) {
	t.Helper()
	ticker, end := time.NewTicker(2*time.Millisecond), time.After(patience)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

// logged waits until the program's keeper has left a line that begins so.
func logged(t testing.TB, directory, prefix string) string {
	t.Helper()
	var found string
	eventually(t, func() error {
		data, err := os.ReadFile(directory + "/log")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				found = strings.TrimSpace(rest)
				return nil
			}
		}
		return fmt.Errorf("no line begins with %q in:\n%s", prefix, data)
	})
	return found
}

// order leaves a file for the program's keeper.
func put(t testing.TB, directory, name string, content any) {
	t.Helper()
	data, ok := content.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(directory+"/."+name, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(directory+"/."+name, directory+"/"+name); err != nil {
		t.Fatal(err)
	}
}

func at(address string) netip.AddrPort { return netip.MustParseAddrPort(address) }

// alive says whether a process runs.
func alive(pid string) bool {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(data), ") Z ")
}

// stateOf is the letter of a process's state.
func stateOf(pid string) string {
	data, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// inUserNamespace is a command in a user namespace of its own.
func inUserNamespace(name string, args ...string) *exec.Cmd {
	return exec.Command("unshare", append([]string{"--user", "--map-root-user", name}, args...)...)
}
