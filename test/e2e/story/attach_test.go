package story

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/workload"
)

// attach is what is typed after `understudy` with a target and nothing that would
// happen to it.
func (s *scene) attach(target string, command ...string) []string {
	return append([]string{"exec", "-f", "none", "-t", target, "--"}, command...)
}

// I look at one pod of a service that goes on running: I have what it has, its
// requests come to me while I listen, and afterwards nobody could tell.
func TestAttach(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	before := s.remember("web", 1)
	name, err := theCluster.PodOf(s.ctx, s.namespace, "web")
	s.must(err)
	pod := s.watched(name)
	rules, err := pod.container.Rules()
	s.must(err)
	if len(rules) > 0 {
		t.Fatalf("before all, there are rules in the pod's network: %q", rules)
	}
	s.untilAnswered("http://web/", `"site":"cluster"`)
	there := map[string]string{}
	for _, variable := range []string{"PLAIN", "GREETING", "PASSWORD", "POD_NAME"} {
		there[variable] = s.asks("web", "/env", map[string]string{"name": variable})
	}
	there["file"] = s.asks("web", "/file", map[string]string{"path": "/etc/web/settings.ini"})
	there["token"] = s.asks("web", "/file", map[string]string{"path": "/var/run/secrets/kubernetes.io/serviceaccount/token"})
	there["name"] = s.asks("caller", "/lookup", map[string]string{"name": "web"})
	there["sidecar"] = "sidecar says hello"
	there["hostname"] = name

	run := s.run("understudy", s.attach("deployment/web/container/web", "sh", "-c", fmt.Sprintf(`
say() { printf '%%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say PLAIN    printenv PLAIN
say GREETING printenv GREETING
say PASSWORD printenv PASSWORD
say POD_NAME printenv POD_NAME
say file     cat /etc/web/settings.ini
say token    cat /var/run/secrets/kubernetes.io/serviceaccount/token
say name     probe lookup web
say sidecar  probe say tcp 127.0.0.1:9400 hello
say hostname hostname
say caller   probe get http://%s:8080/
echo all said
sleep 1000`, s.addressOf("caller")))...)
	session := s.ready(run, "all said")
	if session.Spec.Target.Resource != "pods" || session.Spec.Target.Name != name {
		t.Errorf("the session's target is %+v", session.Spec.Target)
	}
	said := map[string]string{}
	for line := range strings.Lines(run.Out.String()) {
		name, value, _ := strings.Cut(line, "=")
		said[name] = strings.TrimSpace(value)
	}
	for name, want := range there {
		if want == "" || said[name] != strings.ReplaceAll(want, "\n", " ") {
			t.Errorf("%s: %q here, %q there", name, said[name], want)
		}
	}
	for _, want := range []string{"goes on running beside the local process, and goes on taking messages", "pod " + name + " is attached to, the only one of deployment/web"} {
		if !strings.Contains(run.Err.String(), want) {
			t.Errorf("nobody said %q:\n%s", want, run.Err)
		}
	}
	// Who I ask sees the pod.
	var answer struct{ Site, Caller string }
	s.must(json.Unmarshal([]byte(said["caller"]), &answer))
	if from, err := netip.ParseAddrPort(answer.Caller); err != nil || answer.Site != "caller" || from.Addr().Unmap().String() != pod.before.Status.PodIP {
		t.Errorf("%s sees me as %s, and the pod is %s: %v", answer.Site, answer.Caller, pod.before.Status.PodIP, err)
	}
	// While nothing of mine listens, all is as it was.
	if pod.container.Frozen() {
		t.Error("the container is frozen")
	}
	s.untilAnswered("http://web/", `"site":"cluster"`)

	// Who tries once more is told who has it.
	s.fails(s.run("understudy", s.attach("pod/"+name, "echo", "it ran")...), patience, 125,
		"error: .*held by "+regexp.QuoteMeta(s.user.Name), "hint:  that is you, on this machine")
	s.must(run.Interrupt())
	s.exits(run, 130)
	s.agentsGone()

	// I listen where it does.
	run = s.run("understudy", s.attach("pod/"+name, "probe", "serve", "--site=local")...)
	s.ready(run, "listening on .*:8080")
	s.untilAnswered("http://web/", `"site":"local"`)
	began := time.Now()
	s.must(run.Interrupt())
	s.exits(run, 130)
	pod.thawed(began, patience)
	s.untilAnswered("http://web/", `"site":"cluster"`)
	s.agentsGone()
	pod.wentOn()
	s.unchanged(before)
}

// What I attach to goes on reading from its queue, beside me.
func TestAttachShares(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const messages = 200
	s := newScene(t)
	m := s.broker()
	pod := s.startPods("lone", workload.Options{}, "lone")[0]
	start := s.publish(m, 10)
	run := s.run("understudy", s.attach("pod/lone", "worker", "--site=local")...)
	s.ready(run, "connected to nats")
	during := s.publish(m, messages)
	here, there := during.By("local")-start.By("local"), during.By("cluster")-start.By("cluster")
	if here == 0 || there == 0 || here+there != messages {
		t.Errorf("of %d messages %d came here and %d to the pod", messages, here, there)
	}
	s.must(run.Interrupt())
	s.exits(run, 0)
	s.agentsGone()
	pod.wentOn()
}
