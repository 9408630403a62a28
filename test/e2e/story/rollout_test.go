package story

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/controller"
	"understudy.dev/understudy/test/e2e/workload"
)

var rollouts = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}

// rollout reads the worker's.
func (s *scene) rollout(ctx context.Context) (*unstructured.Unstructured, error) {
	return theCluster.Dynamic.Resource(rollouts).Namespace(s.namespace).Get(ctx, "worker", metav1.GetOptions{})
}

// rolledOut waits until the Rollout has seen what it was told, is in that phase,
// and has so many pods that are available.
func (s *scene) rolledOut(phase string, replicas int64) map[string]any {
	s.Helper()
	var spec map[string]any
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		object, err := s.rollout(ctx)
		if err != nil {
			return err
		}
		seen, _, _ := unstructured.NestedString(object.Object, "status", "observedGeneration")
		got, _, _ := unstructured.NestedString(object.Object, "status", "phase")
		available, _, _ := unstructured.NestedInt64(object.Object, "status", "availableReplicas")
		if seen != fmt.Sprint(object.GetGeneration()) || got != phase || available != replicas {
			return fmt.Errorf("generation %s of %d, %s, %d available", seen, object.GetGeneration(), got, available)
		}
		spec = map[string]any{"spec": object.Object["spec"], "annotations": object.GetAnnotations(), "labels": object.GetLabels()}
		return nil
	}))
	return spec
}

// removeRollout waits until its pods are gone too.
func (s *scene) removeRollout() {
	s.Helper()
	foreground := metav1.DeletePropagationForeground
	s.must(theCluster.Dynamic.Resource(rollouts).Namespace(s.namespace).Delete(s.ctx, "worker", metav1.DeleteOptions{PropagationPolicy: &foreground}))
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		_, err := s.rollout(ctx)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.New("the Rollout is still there")
	}))
}

// The controller of Argo Rollouts runs the worker: with a template of its own, and
// with that of a Deployment whose place it took, by whose name I ask for it. Every
// message comes to me, and afterwards to its pods. In the middle of a canary I may
// not come.
func TestRollouts(t *testing.T) {
	s := newScene(t)
	s.with(controller.Rollouts)
	m := s.broker()
	const messages = 100
	for _, c := range []struct {
		name, target string
		options      workload.Options
	}{
		{"with its own template", "rollout/worker", workload.Options{Replicas: 2}},
		{"in a Deployment's place", "deployment/worker", workload.Options{Replicas: 2, Referred: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.part(t)
			s.must(workload.Apply(s.ctx, theCluster, s.namespace, "rollout", c.options))
			before := s.rolledOut("Healthy", 2)
			start := s.counters(m)

			run := s.takeOver(c.target, nil, "worker", "--site=local")
			session := s.ready(run, "connected to")
			if target := session.Spec.Target; target.Resource != "rollouts" {
				t.Errorf("what is held is %s %s", target.Resource, target.Name)
			}
			during := s.publish(m, messages)
			if got := during.By("local") - start.By("local"); got != messages {
				t.Errorf("delivered to the local process: %d of %d", got, messages)
			}
			if got := during.By("cluster") - start.By("cluster"); got != 0 {
				t.Errorf("delivered to the cluster's pods: %d", got)
			}

			s.must(run.Interrupt())
			s.exits(run, 0)
			s.gone()
			if diff := cmp.Diff(before, s.rolledOut("Healthy", 2)); diff != "" {
				t.Errorf("the Rollout is not what it was (-before +after):\n%s", diff)
			}
			after := s.publish(m, messages)
			if got := after.By("cluster") - during.By("cluster"); got != messages {
				t.Errorf("delivered to the cluster's pods: %d of %d", got, messages)
			}

			// A new version: one pod of it runs beside one of the old, and that is how
			// it stays until somebody promotes it.
			next := c.options
			next.Args = []string{"--work=1ms"}
			s.must(workload.Apply(s.ctx, theCluster, s.namespace, "rollout", next))
			canary := s.rolledOut("Paused", 2)
			s.fails(s.takeOver(c.target, nil, "worker", "--site=local"), patience, 125, `error: .*between two versions`)
			if diff := cmp.Diff(canary, s.rolledOut("Paused", 2)); diff != "" {
				t.Errorf("the Rollout was touched in the middle of a canary (-before +after):\n%s", diff)
			}
			s.gone()
			s.removeRollout()
		})
	}
}
