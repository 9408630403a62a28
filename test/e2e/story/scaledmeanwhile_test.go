package story

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/workload"
)

// The queue's worker is a deployment of one pod, which I pause; then somebody scales it
// up. The second pod would take the messages: my session ends before that one runs, and
// says who did it. Then both pods read. So it is with an operator and without.
func TestPauseScaledMeanwhile(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	t.Run("with an operator", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.scaledMeanwhile("deployment worker", func(*frozenPod) *developer.Run {
			return s.pause("deployment/worker", nil, "worker", "--site=local")
		}, s.overBefore)
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		// Who may not read ReplicaSets does not know whose they are.
		s.scaledMeanwhile("replicaset worker-", func(pod *frozenPod) *developer.Run {
			s.alone()
			return s.pauseAlone("pod/"+pod.before.Name, nil, "worker", "--site=local")
		}, nil)
	})
}

// scaledMeanwhile is the story for a pod of the workload. What happened is asked for
// before the session begins, and told the second pod at the end.
func (s *scene) scaledMeanwhile(of string, begins func(*frozenPod) *developer.Run, follows func() func(second core.Pod)) {
	s.Helper()
	const messages = 300
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 1})
	start := s.publish(m, 100)
	pod := s.watched(s.workers(1)[0].Name)

	// From Ready on every message comes to me.
	tell := func(core.Pod) {}
	if follows != nil {
		tell = follows()
	}
	run := begins(pod)
	s.says(run, "connected to nats")
	pod.isFrozen("when the local process runs")
	during := s.publish(m, messages)
	if local, others := during.By("local")-start.By("local"), during.By("cluster")-start.By("cluster"); local != messages || others != 0 {
		s.Errorf("delivered to the local process: %d of %d, to the frozen pod: %d", local, messages, others)
	}

	// Somebody scales it up.
	began := time.Now()
	deployments := theCluster.Client.AppsV1().Deployments(s.namespace)
	scale, err := deployments.GetScale(s.ctx, "worker", metav1.GetOptions{})
	s.must(err)
	scale.Spec.Replicas = 2
	_, err = deployments.UpdateScale(s.ctx, "worker", scale, metav1.UpdateOptions{FieldManager: "somebody"})
	s.must(err)
	pod.thawed(began, soonThawed+busy)
	s.exits(run, 125)
	for _, says := range []string{"has come beside the frozen pod " + pod.before.Name + " of " + of, "--copy-target --scale-down"} {
		if !strings.Contains(run.Err.String(), says) {
			s.Errorf("it does not say %q:\n%s", says, run.Err.String())
		}
	}
	s.must(theCluster.Available(s.within(patience), s.namespace, "worker", 2))
	second := s.other(pod)

	tell(second)

	// Both read, and I do not.
	between := s.counters(m)
	after := s.publish(m, 2*messages)
	for _, ip := range []string{pod.before.Status.PodIP, second.Status.PodIP} {
		its := func(from string) bool { return from == ip }
		if after.From(its) <= between.From(its) {
			s.Errorf("nothing was delivered to the pod at %s", ip)
		}
	}
	if got := after.By("cluster") - between.By("cluster"); got != 2*messages {
		s.Errorf("delivered to the two pods: %d of %d", got, 2*messages)
	}
	pod.wentOn()
}

// overBefore follows the scene's session, which is to be over before the second pod
// could read.
func (s *scene) overBefore() func(core.Pod) {
	s.Helper()
	proof := s.proof()
	return func(second core.Pod) {
		s.Helper()
		ready := meta.FindStatusCondition(proof().Status.Conditions, understudy.ConditionReady)
		started := second.Status.ContainerStatuses[0].State.Running.StartedAt
		if ready == nil || ready.Reason != understudy.ReasonTargetNotAlone || started.Before(&ready.LastTransitionTime) {
			s.Errorf("the second pod runs since %s, and the session says %+v", started, ready)
		} else if !strings.Contains(ready.Message, "its number is 2 now, last written by somebody") {
			s.Errorf("it does not say whose doing it was: %s", ready.Message)
		}
	}
}

// workers waits until the deployment worker has so many pods.
func (s *scene) workers(n int) []core.Pod {
	s.Helper()
	var pods *core.PodList
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		var err error
		pods, err = theCluster.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=worker"})
		if err == nil && len(pods.Items) != n {
			err = fmt.Errorf("there are %d pods, not %d", len(pods.Items), n)
		}
		return err
	}))
	return pods.Items
}

// other is the one beside it of two.
func (s *scene) other(p *frozenPod) core.Pod {
	s.Helper()
	pods := s.workers(2)
	if pods[0].UID == p.before.UID {
		return pods[1]
	}
	return pods[0]
}
