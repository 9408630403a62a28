package story

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/workload"
)

// On a node with both of the kernel's hierarchies an administrator has said which
// one freezes. In either not a message reaches the frozen pod, by the broker's own
// counters, also when its container is told to end, as the kubelet tells one that it
// restarts, or killed; and it goes on afterwards. No other story may run meanwhile:
// the node is everybody's.
func TestPauseFreezers(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const messages = 200
	for _, freezer := range []string{"v1", "v2"} {
		t.Run(freezer, func(t *testing.T) {
			s := newScene(t)
			m := s.broker()
			pod := s.startPods("lone", workload.Options{}, "lone")[0]
			s.annotateNode(pod.before.Spec.NodeName, understudy.FreezerAnnotation, freezer)
			start := s.publish(m, 50)

			run := s.pause("pod/lone", nil, "worker", "--site=local")
			s.ready(run, "connected to nats")
			if in := pod.container.FrozenIn(); !slices.Equal(in, []string{freezer}) {
				t.Errorf("it is frozen in %v, not in %s alone", in, freezer)
			}
			during := s.publish(m, messages)
			if remote, local := during.By("cluster")-start.By("cluster"), during.By("local")-start.By("local"); remote != 0 || local != messages {
				t.Errorf("delivered to the frozen pod: %d; to the local process: %d of %d", remote, local, messages)
			}

			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				pod = pod.killed(signal)
				before := during
				during = s.publish(m, messages)
				if remote, local := during.By("cluster")-start.By("cluster"), during.By("local")-before.By("local"); remote != 0 || local != messages {
					t.Errorf("after %v, delivered to the pod, whose container was started again: %d; to the local process: %d of %d", signal, remote, local, messages)
				}
			}

			began := time.Now()
			s.must(run.Interrupt())
			pod.thawed(began, soonThawed+busy)
			s.exits(run, 0)
			s.agentsGone()
			after := s.publish(m, messages)
			if got := after.By("cluster") - during.By("cluster"); got != messages {
				t.Errorf("delivered to the thawed pod: %d of %d", got, messages)
			}
			pod.wentOn()
		})
	}
}

// annotateNode says something on a node, until the story is over.
func (s *scene) annotateNode(name, key, value string) {
	s.Helper()
	annotate := func(ctx context.Context, value string) error {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, value)
		_, err := theCluster.Client.CoreV1().Nodes().Patch(ctx, name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
		return err
	}
	s.Cleanup(func() {
		if err := annotate(context.WithoutCancel(s.ctx), "null"); err != nil {
			s.Error(err)
		}
	})
	s.must(annotate(s.ctx, fmt.Sprintf("%q", value)))
}
