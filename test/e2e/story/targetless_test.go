package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

// I am in the place of nothing: an empty pod's network and names, and nobody's
// account. What runs in the namespace is not touched.
func TestTargetless(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	before := s.remember("web", 1)
	run := s.run("understudy", "exec", "-f", "none", "-t", "targetless", "--", "sh", "-c", fmt.Sprintf(`
say() { printf '%%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say known    probe lookup web
say unknown  probe lookup nobody-has-this-name
say service  curl -sS -m 10 http://web/
say caller   probe get http://%[1]s:8080/
say refused  probe dial tcp %[1]s:81
say sidecar  probe dial tcp 127.0.0.1:9400
say plain    printenv PLAIN
say home     printenv HOME
say token    ls /var/run/secrets/kubernetes.io
say hostname hostname
echo all said
sleep 1000 & wait`, s.addressOf("caller")))
	session := s.ready(run, "all said")
	pod, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, session.Status.Agent.PodName, metav1.GetOptions{})
	s.must(err)
	said := map[string]string{}
	for line := range strings.Lines(run.Out.String()) {
		name, value, _ := strings.Cut(line, "=")
		said[name] = strings.TrimSpace(value)
	}
	for name, want := range map[string]string{
		"known": s.asks("caller", "/lookup", map[string]string{"name": "web"}), "unknown": "unknown",
		"refused": "refused", "sidecar": "refused", "plain": "", "home": s.dev.Home, "hostname": pod.Name,
	} {
		if said[name] != want {
			t.Errorf("%s: %q, not %q", name, said[name], want)
		}
	}
	if !strings.Contains(said["service"], `"site":"cluster"`) || !strings.Contains(said["token"], "No such file") {
		t.Errorf("the Service answers %q, and of a token there is %q", said["service"], said["token"])
	}
	// Whom I ask sees the pod.
	var answer struct{ Caller string }
	s.must(json.Unmarshal([]byte(said["caller"]), &answer))
	from, err := netip.ParseAddrPort(answer.Caller)
	s.must(err)
	if from.Addr().Unmap().String() != pod.Status.PodIP {
		t.Errorf("who is asked sees %s, and the pod is %s", from, pod.Status.PodIP)
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
		t.Error("the pod has an account's token")
	}
	if pod.Labels["app"] != "" || !isOnlyAgent(pod) {
		t.Errorf("it is not an empty pod: %v, %+v", pod.Labels, pod.Spec.Containers)
	}

	s.must(run.Interrupt())
	s.exits(run, 130)
	s.gone()
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		_, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("the empty pod is still there"), err)
	}))
	s.unchanged(before)

	// The exit code is the command's.
	s.exits(s.run("understudy", "exec", "-f", "none", "-t", "targetless", "--", "sh", "-c", "exit 7"), 7)
	s.gone()
}

func isOnlyAgent(pod *core.Pod) bool {
	return len(pod.Spec.Containers) == 1 && strings.Contains(pod.Spec.Containers[0].Image, "understudy-agent")
}
