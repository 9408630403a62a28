package story

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/workload"
)

// asks sends a question to a probe in the cluster.
func (s *scene) asks(app string, path string, query map[string]string) string {
	s.Helper()
	pod, err := theCluster.PodOf(s.ctx, s.namespace, app)
	s.must(err)
	answer, err := theCluster.Get(s.within(patience), s.namespace, pod, 8080, path, query)
	s.must(err)
	return strings.TrimSpace(string(answer))
}

// addressOf is the address of an app's pod.
func (s *scene) addressOf(app string) string {
	s.Helper()
	name, err := theCluster.PodOf(s.ctx, s.namespace, app)
	s.must(err)
	pod, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	return pod.Status.PodIP
}

// The network of my process is the container's: what is refused there is
// refused here, names are the cluster's, the sidecar is on my loopback.
func TestNetworkOut(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	ip := s.addressOf("caller")
	service, err := theCluster.Client.CoreV1().Services(s.namespace).Get(s.ctx, "web", metav1.GetOptions{})
	s.must(err)

	run := s.takeOver("deployment/web/container/web", nil, "sh", "-c", fmt.Sprintf(`
say() { printf '%%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say open      probe dial tcp %[1]s:8080
say refused   probe dial tcp %[1]s:81
say udp       probe say udp 127.0.0.1:9400 datagram
say sidecar   probe say tcp 127.0.0.1:9400 hello
say loopback  probe dial tcp 127.0.0.1:9401
say known     probe lookup web
say unknown   probe lookup nobody-has-this-name
say foreign   probe lookup www.example.com
say libc      getent ahostsv4 web
say libcnot   getent ahostsv4 nobody-has-this-name
say curl      curl -sS -m 10 http://%[1]s:8080/
say curlno    sh -c 'curl -s -m 10 http://%[1]s:81/; echo $?'
say hostname  hostname
echo all said
sleep 1000`, ip))
	s.ready(run, "all said")
	said := map[string]string{}
	for line := range strings.Lines(run.Out.String()) {
		name, value, _ := strings.Cut(line, "=")
		said[name] = strings.TrimSpace(value)
	}
	sessions, err := theCluster.Sessions(s.ctx, s.namespace)
	s.must(err)
	for name, want := range map[string]string{
		"open":     "connected",
		"refused":  "refused",
		"udp":      "sidecar says datagram",
		"sidecar":  "sidecar says hello",
		"loopback": "refused",
		"known":    service.Spec.ClusterIP,
		"unknown":  "unknown",
		"libcnot":  "",
		"hostname": sessions[0].Status.Agent.PodName,
	} {
		if said[name] != want {
			t.Errorf("%s: %q, not %q", name, said[name], want)
		}
	}
	// What the container itself would be told of a name outside of the cluster.
	if want := s.asks("caller", "/lookup", map[string]string{"name": "www.example.com"}); said["foreign"] != want {
		t.Errorf("a foreign name: %q here, %q there", said["foreign"], want)
	}
	if !strings.Contains(said["libc"], service.Spec.ClusterIP) {
		t.Errorf("a name by way of the C library: %q", said["libc"])
	}
	// curl's 7: it failed to connect, and not by its own time-out (28).
	if !strings.Contains(said["curl"], `"site":"caller"`) || !strings.Contains(said["curlno"], "7") {
		t.Errorf("curl: %q and %q", said["curl"], said["curlno"])
	}
}

// Requests to the workload's Service are answered by my process, which sees
// who calls; a port that nobody declared is not reachable in the cluster.
func TestNetworkIn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 2})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	before := s.remember("web", 2)
	s.untilAnswered("http://web/", `"site":"cluster"`)
	name, err := theCluster.PodOf(s.ctx, s.namespace, "caller")
	s.must(err)
	caller, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)

	// My process listens where the container did, and with a debugger's port.
	run := s.takeOver("deployment/web/container/web", nil, "probe", "serve", "--site=local", "--also=0.0.0.0:2345")
	session := s.ready(run, "listening on .*:2345")

	// A pod of the cluster asks the Service, as it always does.
	var answer struct{ Site, Host, Caller string }
	body := s.untilAnswered("http://web/", `"site":"local"`)
	s.must(json.Unmarshal([]byte(body), &answer))
	from, err := netip.ParseAddrPort(answer.Caller)
	s.must(err)
	if from.Addr().Unmap().String() != caller.Status.PodIP {
		t.Errorf("my process sees the caller as %s, who is %s", from, caller.Status.PodIP)
	}

	// The debugger's port is not there, neither on the pod's address nor by name.
	standIn, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, session.Status.Agent.PodName, metav1.GetOptions{})
	s.must(err)
	if got := s.asks("caller", "/dial", map[string]string{"address": standIn.Status.PodIP + ":8080"}); got != "connected" {
		t.Errorf("the declared port: %s", got)
	}
	if got := s.asks("caller", "/dial", map[string]string{"address": standIn.Status.PodIP + ":2345"}); got != "refused" {
		t.Errorf("the debugger's port is %s from the cluster", got)
	}
	s.must(run.Interrupt())
	s.exits(run, 130)
	s.unchanged(before)
}

// Asked for, a port is opened.
func TestListen(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	run := s.takeOver("deployment/web/container/web", []string{"--listen", "2345"}, "probe", "serve", "--site=local", "--also=0.0.0.0:2345")
	session := s.ready(run, "listening on .*:2345")
	standIn, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, session.Status.Agent.PodName, metav1.GetOptions{})
	s.must(err)
	s.untilAnswered("http://"+standIn.Status.PodIP+":2345/", `"site":"local"`)
}
