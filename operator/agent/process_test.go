package agent

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

// build makes the program as it is released: static.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "understudy-agent")
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "understudy-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, "understudy.dev/understudy/cmd/understudy-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	// For a user who is nobody.
	return to, errors.Join(os.Chmod(dir, 0o755), os.Chmod(to, 0o755))
})

func TestMain(m *testing.M) {
	if dir := os.Getenv(boxVariable); dir != "" {
		fmt.Fprintln(os.Stderr, enterBox(dir))
		os.Exit(1)
	}
	if playsRole() {
		runRole(m)
	}
	code := m.Run()
	if path, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is the real program, run with a configuration.
type process struct {
	t      testing.TB
	path   string
	dir    string
	config settings.Config
	owner  crypto.Signer
	print  string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	exited chan error
	// ask is the socket of an agent on a node; empty for one in a stand-in.
	ask string
}

func newKey(t testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func start(t testing.TB, change func(*settings.Config, *exec.Cmd)) *process {
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, path: path, dir: filepath.Join(filepath.Dir(path), strings.ReplaceAll(t.Name(), "/", "_")), owner: newKey(t), stderr: &bytes.Buffer{}, exited: make(chan error, 1)}
	ownerKey, err := x509.MarshalPKIXPublicKey(p.owner.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	if p.print, err = tunnel.KeyFingerprint(key.Public()); err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.config = settings.Config{Session: "uid-1", Port: freePort(t), ClientKey: ownerKey, LeaseSeconds: 60, ShareTraffic: true}
	p.cmd = exec.Command(path, "serve", "--config-dir="+p.dir)
	p.cmd.Env = []string{"GREETING=hello", "PATH=/nowhere"}
	p.cmd.Dir = "/"
	p.cmd.Stderr = p.stderr
	if change != nil {
		change(&p.config, p.cmd)
	}
	content, err := json.Marshal(p.config)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.MkdirAll(p.dir, 0o755),
		os.WriteFile(filepath.Join(p.dir, settings.ConfigFile), content, 0o444),
		os.WriteFile(filepath.Join(p.dir, settings.KeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o444),
		p.cmd.Start())
	if err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		err := <-p.exited
		p.exited <- err
		if t.Failed() {
			t.Logf("the agent's log:\n%s", p.stderr)
		}
	})
	return p
}

func (p *process) connect() *tunnel.Client {
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	client, err := tunnel.Connect(ctx, tunnel.ClientConfig{
		Key:     p.owner,
		Session: p.config.Session,
		Target: func(ctx context.Context) (net.Conn, string, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.config.Port))
			return conn, p.print, err
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { client.Close() })
	return client
}

// ready runs the probe as the kubelet does.
func (p *process) ready() (string, bool) {
	how := "--config-dir=" + p.dir
	if p.ask != "" {
		how = "--ask=" + p.ask
	}
	out, err := exec.Command(p.path, "ready", how).CombinedOutput()
	return string(out), err == nil
}

func TestProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: the agent runs as the same user, not as one without a name")
	}
	service := freePort(t)
	p := start(t, func(config *settings.Config, cmd *exec.Cmd) {
		config.Ports = []tunnel.Port{{Network: "tcp", Port: service, Why: "service"}}
		config.ServicePorts = []uint16{service}
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321, NoSetGroups: true}}
		}
	})
	c := p.connect()

	w := c.Welcome()
	if !slices.Equal(w.Environment, p.cmd.Env) || w.WorkingDir != "/" || w.Hostname == "" {
		t.Errorf("greeted with %+v", w)
	}
	if !slices.ContainsFunc(w.Files, func(f tunnel.File) bool { return f.Path == "/etc/hosts" }) {
		t.Error("/etc/hosts is missing")
	}
	for _, a := range w.Addresses {
		if a.IsLoopback() {
			t.Errorf("address %v", a)
		}
	}
	if slices.ContainsFunc(w.LoopbackPorts, func(e tunnel.Endpoint) bool { return e.Port == p.config.Port }) {
		t.Error("the agent's own port is among the pod's")
	}

	if out, ok := p.ready(); ok || !strings.Contains(out, "not ready: the session is not ready") {
		t.Errorf("the probe says %q", out)
	}
	if err := c.SetReady(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if out, ok := p.ready(); ok || !strings.Contains(out, fmt.Sprintf("port %d", service)) {
		t.Errorf("the probe says %q", out)
	}
	l, err := c.Listen(t.Context(), tunnel.ListenRequest{Network: "tcp", Port: service})
	if err != nil {
		t.Fatal(err)
	}
	if out, ok := p.ready(); !ok || out != "ready\n" {
		t.Errorf("the probe says %q", out)
	}
	peer, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", service))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go io.WriteString(conn, "from the laptop")
	got := make([]byte, 15)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "from the laptop" {
		t.Errorf("%q, %v", got, err)
	}

	began := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	err = <-p.exited
	p.exited <- err
	if took := time.Since(began); err != nil || took > 5*time.Second {
		t.Errorf("ended after %v with %v", took, err)
	}
	if _, err := peer.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v", err)
	}
	if out, ok := p.ready(); ok || !strings.Contains(out, "asking the agent") {
		t.Errorf("the probe says %q", out)
	}
	for line := range bytes.Lines(p.stderr.Bytes()) {
		if !json.Valid(line) {
			t.Errorf("log line %q is not JSON", line)
		}
	}
}

func TestStaticAndSmall(t *testing.T) {
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 10<<20 {
		t.Errorf("%d bytes", info.Size())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("ld-linux")) {
		t.Error("needs a dynamic loader")
	}
}

func TestInstall(t *testing.T) {
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for range 2 { // again over itself, as when the pod's sandbox is made again
		if out, err := exec.Command(path, "install", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "understudy-agent" {
		t.Fatalf("%v, %v", entries, err)
	}
	info, _ := entries[0].Info()
	if info.Mode() != 0o555 {
		t.Errorf("mode %v", info.Mode())
	}
	want, _ := os.ReadFile(path)
	if got, err := os.ReadFile(filepath.Join(dir, "understudy-agent")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d: %v", len(got), len(want), err)
	}
	if out, err := exec.Command(path, "install", filepath.Join(dir, "missing")).CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "error: installing") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"fly"}, {"serve", "x"}, {"serve", "--nonsense"}, {"install"}} {
		var stdout, stderr bytes.Buffer
		if code := Run(args, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "usage:") {
			t.Errorf("%q: exit %d, %s", args, code, stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if code := Run([]string{"serve", "--config-dir=" + t.TempDir()}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "config.json") {
		t.Errorf("without a configuration: exit %d, %s", code, stderr.String())
	}
}
