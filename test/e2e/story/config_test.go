package story

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.dev/understudy/test/e2e/workload"
)

// echoHere listens on this machine's loopback and says where it is.
func echoHere(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				line := make([]byte, 64)
				n, _ := conn.Read(line)
				_, _ = io.WriteString(conn, "this machine says "+string(line[:n]))
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

// freePort is one that nobody on this machine listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// I come with the file that I have for mirrord, and type nothing else: what it
// says takes effect.
func TestLegacyFile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 2})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	before := s.remember("web", 2)
	here := echoHere(t)
	published := freePort(t)
	machine, err := os.Hostname()
	s.must(err)

	s.must(os.MkdirAll(filepath.Join(s.dev.Home, ".mirrord"), 0o755))
	s.must(s.dev.Write("dev.env", "FROM_FILE=yes\nPLAIN=from the file\n"))
	s.must(s.dev.Write(".mirrord/mirrord.json", fmt.Sprintf(`{
  // what a team has in its repository
  "target": {"path": {"deployment": "{{ get_env(name="NOBODY_SETS_THIS", default="web") }}", "container": "web"}},
  "operator": true,
  "telemetry": false,
  "agent": {"log_level": "info", "ttl": 30},
  "feature": {
    "copy_target": {"scale_down": true},
    "hostname": false,
    "env": {
      "exclude": "PASSWORD;KUBERNETES_*",
      "env_file": "dev.env",
      "mapping": {"^GREET": "mapped"},
      "override": {"Mixed_Case": "kept", "PLAIN": "overridden"},
      "unset": ["pod_ip"],
    },
    "fs": {"mode": "read", "local": "^/etc/web"},
    "network": {
      "incoming": {"mode": "steal", "port_mapping": [[3000, 8080]], "listen_ports": [[3000, %d]]},
      "outgoing": {"filter": {"local": ["localhost:%s"]}},
      "dns": {"filter": {"local": [%q]}},
    },
  },
}
`, published, here, machine)))

	run := s.run("understudy", "exec", "--", "sh", "-c", fmt.Sprintf(`
say() { printf '%%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say plain    printenv PLAIN
say file     printenv FROM_FILE
say greeting printenv GREETING
say mixed    printenv Mixed_Case
say password printenv PASSWORD
say service  printenv KUBERNETES_SERVICE_HOST
say podip    printenv POD_IP
say podname  printenv POD_NAME
say settings cat /etc/web/settings.ini
say secret   cat /var/secrets/web/password
say hostname hostname
say machine  probe say tcp 127.0.0.1:%[1]s hello
say sidecar  probe say tcp 127.0.0.1:9400 hello
say here     probe lookup %[2]s
say there    probe lookup web
say default  probe lookup kubernetes.default.svc.cluster.local
exec probe serve --site=local --listen=0.0.0.0:3000`, here, machine))
	session := s.ready(run, `listening on .*:3000`)
	said := map[string]string{}
	for line := range strings.Lines(run.Out.String()) {
		name, value, _ := strings.Cut(line, "=")
		said[name] = strings.TrimSpace(value)
	}
	addresses, _ := net.LookupHost(machine)
	service := s.asks("caller", "/lookup", map[string]string{"name": "web"})
	for name, want := range map[string]string{
		"plain": "overridden", "file": "yes", "greeting": "mapped", "mixed": "kept",
		"password": "", "service": "", "podip": "", "podname": session.Status.Agent.PodName,
		"secret": "not-a-guess", "hostname": machine,
		"machine": "this machine says hello", "sidecar": "sidecar says hello",
		"there": service,
	} {
		if said[name] != want {
			t.Errorf("%s: %q, not %q", name, said[name], want)
		}
	}
	if !strings.Contains(said["settings"], "No such file") {
		t.Errorf("the volume that is to be this machine's says %q", said["settings"])
	}
	if len(addresses) > 0 && !strings.Contains(strings.Join(addresses, " "), strings.Fields(said["here"] + " -")[0]) {
		t.Errorf("%s is %q on the stage and %q here", machine, said["here"], addresses)
	}

	// It was said which file was taken, and what has no meaning.
	for _, want := range []string{"configuration: .mirrord/mirrord.json", "agent.ttl has no meaning here"} {
		if !strings.Contains(run.Err.String(), want) {
			t.Errorf("nobody said %q:\n%s", want, run.Err)
		}
	}
	// The Service leads to port 8080, for which my process listens on 3000; and
	// so does the port of my own machine that the file names.
	s.untilAnswered("http://web/", `"site":"local"`)
	probe := s.run("probe", "get", fmt.Sprintf("http://127.0.0.1:%d/", published))
	s.exits(probe, 0)
	if !strings.Contains(probe.Out.String(), `"site":"local"`) {
		t.Errorf("on my own machine: %q", probe.Out)
	}
	s.must(run.Interrupt())
	s.exits(run, 130)
	s.unchanged(before)
}

// A file that asks for what cannot be done is refused before anything is made,
// with all that is wrong with it.
func TestRefusedFile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	before := s.remember("web", 1)
	s.must(s.dev.Write("queues.json", `{
  "target": "deployment/web",
  "feature": {
    "copy_target": {"scale_down": true},
    "split_queues": {"orders": {"queue_type": "SQS"}},
    "network": {"incoming": "mirror"}
  }
}
`))
	run := s.run("understudy", "exec", "-f", "queues.json", "--", "true")
	s.exits(run, 125)
	for _, want := range []string{"2 things are wrong", "queues.json:5: feature.split_queues is not taken", "mode mirror does not work yet"} {
		if !strings.Contains(run.Err.String(), want) {
			t.Errorf("nobody said %q:\n%s", want, run.Err)
		}
	}
	s.unchanged(before)
}
