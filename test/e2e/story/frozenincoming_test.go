package story

import (
	"context"
	"errors"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

// The one pod behind a Service is frozen. While my process does not listen, who
// calls is refused at once, and not left to wait for a frozen pod; the kubelet is
// answered all the same. When it listens, what comes in comes to my process. At
// the end the same pod answers, never restarted, and ready all the time.
func TestPauseIncoming(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	s.must(theCluster.Available(s.within(patience), s.namespace, "caller", 1))
	s.untilAnswered("http://web/", `"site":"cluster"`)
	name, err := theCluster.PodOf(s.ctx, s.namespace, "web")
	s.must(err)
	pod := s.watched(name)
	address := map[string]string{"address": pod.before.Status.PodIP + ":8080"}

	run := s.pause("deployment/web/container/web", []string{"--steal"}, "sh", "-c",
		"echo it runs; until [ -e listen ]; do sleep 0.1; done; exec probe serve --site=local")
	s.ready(run, "it runs")
	pod.isFrozen("when the local process runs")
	began := time.Now()
	if got := s.asks("caller", "/dial", address); got != "refused" {
		t.Errorf("where my process does not listen a caller is %s, after %s", got, time.Since(began))
	}
	// Its readiness is asked for each second, and three failures in a row end it.
	s.probed(12*time.Second, pod)

	s.must(s.dev.Write("listen", ""))
	s.untilAnswered("http://web/", `"site":"local"`)
	if got := s.asks("caller", "/dial", address); got != "connected" {
		t.Errorf("where my process listens a caller is %s", got)
	}
	pod.isFrozen("while my process answers")
	pod.wentOn()

	began = time.Now()
	s.must(run.Interrupt())
	pod.thawed(began, soonThawed+busy)
	s.exits(run, 130)
	s.untilAnswered("http://web/", `"site":"cluster"`)
	s.agentsGone()
	pod.wentOn()
	// Nothing of the kubelet's is left to be answered by somebody else.
	s.must(cluster.Until(s.within(patience), func(context.Context) error {
		rules, err := pod.container.Rules()
		if err == nil && len(rules) > 0 {
			err = errors.New("rules are left")
		}
		return err
	}))
}
