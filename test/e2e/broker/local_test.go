package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"understudy.dev/understudy/test/e2e/broker"
)

// The brokers that are tested are the real ones, as processes on loopback that the
// test starts and ends: RabbitMQ and Redis out of the folders that are their
// images' roots in the cluster, where test/e2e/run has them unpacked.

// rootOf is such a folder.
func rootOf(t *testing.T, variable string) string {
	t.Helper()
	root := os.Getenv(variable)
	if root == "" {
		t.Skipf("SKIPPED: %s names no folder of Debian's packages; make e2e unpacks them", variable)
	}
	return root
}

// libraries is where a root's programs find what they are linked with.
func libraries(root string) string {
	var folders []string
	for _, above := range []string{"lib", "usr/lib"} {
		found, _ := filepath.Glob(filepath.Join(root, above, "*-linux-gnu*")) // the pattern is a good one
		folders = append(folders, found...)
	}
	return "LD_LIBRARY_PATH=" + strings.Join(folders, ":")
}

// freePort is one on loopback that nobody listened on just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a program until the test's end, and waits until it listens.
func start(t *testing.T, port int, env []string, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		ended <- nil
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("%s says:\n%.8000s", filepath.Base(program), said)
		}
	})
	within(t, 3*time.Minute, func() error { // a machine that does much else is slow
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("%s has ended: %v", program, err)
		default:
		}
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// within waits for something.
func within(t *testing.T, d time.Duration, ask func() error) {
	t.Helper()
	for deadline := time.Now().Add(d); ; <-time.After(50 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// startRabbitMQ runs a node with its management plugin.
func startRabbitMQ(t *testing.T) broker.Options {
	t.Helper()
	root := rootOf(t, "E2E_RABBITMQ_ROOT")
	data, epmd, port, monitor := t.TempDir(), freePort(t), freePort(t), freePort(t)
	write := func(name, text string) string {
		file := filepath.Join(data, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("rabbitmq.conf", fmt.Sprintf(
		"listeners.tcp.1 = 127.0.0.1:%d\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\ncollect_statistics_interval = 500\n", port, monitor))
	erts, home := filepath.Join(root, "usr/lib/erlang/erts/bin"), filepath.Join(root, "usr/lib/rabbitmq/server")
	env := []string{
		libraries(root), "HOME=" + data, "LANG=C.UTF-8", "ERL_CRASH_DUMP=/dev/null", "ERL_MAX_PORTS=65536",
		"ROOTDIR=" + filepath.Join(root, "usr/lib/erlang"), "BINDIR=" + erts, "EMU=beam", "PROGNAME=erl",
		fmt.Sprintf("ERL_EPMD_PORT=%d", epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_HOME=" + home, "ERL_LIBS=" + filepath.Join(home, "plugins"), "RABBITMQ_NODENAME=rabbit@localhost",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", freePort(t)),
		"RABBITMQ_MNESIA_BASE=" + data, "RABBITMQ_LOG_BASE=" + data, "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(data, "rabbitmq"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + write("plugins", "[rabbitmq_management].\n"),
	}
	start(t, epmd, env, filepath.Join(erts, "epmd"))
	start(t, port, env, filepath.Join(erts, "erlexec"), "-noinput", "-s", "rabbit", "boot", "-boot", "start_sasl", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+S", "1:1",
		"-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false", "-kernel", "prevent_overlapping_partitions", "false")
	return broker.Options{URL: fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port), Monitor: fmt.Sprintf("http://127.0.0.1:%d", monitor)}
}

func startRedis(t *testing.T) broker.Options {
	t.Helper()
	root, port := rootOf(t, "E2E_REDIS_ROOT"), freePort(t)
	start(t, port, []string{libraries(root)}, filepath.Join(root, "usr/bin/redis-server"),
		"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--dir", t.TempDir())
	return broker.Options{URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port)}
}

func startNATS(t *testing.T) broker.Options {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return broker.Options{URL: s.ClientURL(), Monitor: "http://" + s.MonitorAddr().String()}
}

// counted waits for what the broker counts.
func counted(t *testing.T, b broker.Broker, wanted func(broker.Counters) error) broker.Counters {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("it took more than 30 s"))
	defer cancel()
	c, err := broker.Until(ctx, b.Counters, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
