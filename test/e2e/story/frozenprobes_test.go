package story

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/workload"
)

// The kubelet asks frozen pods each second whether they live, by each of the ways
// that it has, and never learns that they do not.
func TestPauseProbes(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	s := newScene(t)
	kinds := []string{"http", "tcp", "grpc"}
	pods := s.startPods("probed", workload.Options{Probes: kinds}, kinds...)
	for i, kind := range kinds {
		run := s.pause("pod/"+kind, nil, "sh", "-c", "echo it runs; sleep 1000")
		s.says(run, "it runs")
		pods[i].isFrozen("when the local process runs")
	}
	s.probed(probedFor, pods...)
	began := time.Now()
	for _, run := range s.runs {
		s.must(run.Interrupt())
	}
	for _, pod := range pods {
		pod.thawed(began, soonThawed+busy)
	}
	for _, pod := range pods {
		pod.wentOn()
	}
	s.agentsGone()
}

// probedFor is longer than the kubelet lets a container live that does not answer:
// five probes of one second each, and the breaks between them. PROBED=5m makes it
// as long as somebody's session.
var probedFor = func() time.Duration {
	if asked, err := time.ParseDuration(os.Getenv("PROBED")); err == nil {
		return asked
	}
	return 12 * time.Second
}()

// probed has frozen pods asked for a while, and looks all the time: each is frozen,
// was never restarted and never unready; and the kubelet really asked.
func (s *scene) probed(long time.Duration, pods ...*frozenPod) {
	s.Helper()
	before := make([]map[string]int, len(pods))
	for i, pod := range pods {
		before[i] = pod.probes()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(long); time.Now().Before(end) && !s.Failed(); <-tick.C {
		for _, pod := range pods {
			pod.isFrozen("while it is probed")
			pod.wentOn()
		}
	}
	for i, pod := range pods {
		after := pod.probes()
		for _, kind := range []string{"Liveness", "Readiness"} {
			good, bad := kind+" successful", kind+" failed"
			answered, failed := after[good]-before[i][good], after[bad]-before[i][bad]
			s.Logf("%s: in %s the kubelet's %s probe was answered %d times, and failed %d times", pod.before.Name, long, strings.ToLower(kind), answered, failed)
			if answered == 0 {
				s.Errorf("the %s probe of %s was never answered", strings.ToLower(kind), pod.before.Name)
			}
		}
	}
}

var probeCount = regexp.MustCompile(`(?m)^prober_probe_total\{(.*)\} (\S+)$`)

// probes counts what the kubelet has come to by its probes of the pod, by kind and
// result.
func (p *frozenPod) probes() map[string]int {
	p.Helper()
	path := fmt.Sprintf("/api/v1/nodes/%s/proxy/metrics/probes", p.before.Spec.NodeName)
	data, err := theCluster.Client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(p.within(patience))
	p.must(err)
	counts := map[string]int{}
	for _, found := range probeCount.FindAllStringSubmatch(string(data), -1) {
		labels := map[string]string{}
		for _, label := range strings.Split(found[1], ",") {
			key, value, _ := strings.Cut(label, "=")
			labels[key], _ = strconv.Unquote(value)
		}
		if labels["namespace"] != p.namespace || labels["pod"] != p.before.Name {
			continue
		}
		count, err := strconv.ParseFloat(found[2], 64)
		p.must(err)
		counts[labels["probe_type"]+" "+labels["result"]] += int(count)
	}
	return counts
}
