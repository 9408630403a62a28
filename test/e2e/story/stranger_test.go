package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	autoscaling "k8s.io/api/autoscaling/v1"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

// podsMade notes every pod of the deployment that the API server ever tells of
// from now on; called again it says which.
func (s *scene) podsMade(name string) func() []string {
	s.Helper()
	list, err := theCluster.Client.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	s.must(err)
	w, err := theCluster.Client.CoreV1().Pods(s.namespace).Watch(s.ctx, metav1.ListOptions{
		LabelSelector: "app=" + name, ResourceVersion: list.ResourceVersion,
	})
	s.must(err)
	s.Cleanup(w.Stop)
	var mu sync.Mutex
	var made []string
	go func() {
		for event := range w.ResultChan() {
			pod, ok := event.Object.(*core.Pod)
			if !ok || event.Type != watch.Added {
				continue
			}
			if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "ReplicaSet" {
				mu.Lock()
				made = append(made, pod.Name)
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(made)
	}
}

// heldWith waits until the session remembers a number and the deployment is at
// zero again.
func (s *scene) heldWith(name string, replicas int32) {
	s.Helper()
	_, err := theCluster.SessionUntil(s.within(patience), s.namespace, func(session understudy.Session) error {
		if r := session.Status.Record; r == nil || r.Replicas != replicas {
			return fmt.Errorf("it remembers %+v, not %d", r, replicas)
		}
		if wished, _ := s.replicas(name); wished != 0 {
			return fmt.Errorf("the deployment wishes %d", wished)
		}
		return cluster.HasCondition(understudy.ConditionReady)(session)
	})
	s.must(err)
}

// Somebody scales the workload while I stand in for it, and then the team's
// pipeline applies yet another number: no pod starts, and their number is what
// comes back.
func TestStrangersNumbers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 2})
	run := s.takeOver("deployment/web", nil, "sh", "-c", "echo up; sleep 1000")
	s.ready(run, "up")
	made := s.podsMade("web")

	// kubectl scale deployment/web --replicas=4
	_, err := theCluster.Client.AppsV1().Deployments(s.namespace).UpdateScale(s.ctx, "web", &autoscaling.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: s.namespace},
		Spec:       autoscaling.ScaleSpec{Replicas: 4},
	}, metav1.UpdateOptions{FieldManager: "kubectl"})
	s.must(err)
	s.heldWith("web", 4)

	// kubectl apply --server-side, by the team, with 1. Whoever scaled before
	// owns the number, so the team has to insist.
	manifest, err := workload.Manifest("web", workload.Options{Replicas: 1})
	s.must(err)
	if err := theCluster.Apply(s.ctx, workload.Team, s.namespace, manifest); err != nil {
		s.must(theCluster.ApplyForced(s.ctx, workload.Team, s.namespace, manifest))
	}
	s.heldWith("web", 1)
	if pods := made(); len(pods) != 0 {
		t.Errorf("pods were started: %v", pods)
	}

	// I leave. The last wish is what comes.
	s.must(run.Interrupt())
	s.exits(run, 130)
	s.must(theCluster.Available(s.within(patience), s.namespace, "web", 1))
	s.gone()

	// The number is the team's: another one goes through without a conflict.
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "web", workload.Options{Replicas: 3}))
	s.must(theCluster.Available(s.within(patience), s.namespace, "web", 3))
}

// gone waits until there is no session any more.
func (s *scene) gone() {
	s.Helper()
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		sessions, err := theCluster.Sessions(ctx, s.namespace)
		if err == nil && len(sessions) != 0 {
			err = errors.New("there is still a session")
		}
		return err
	}))
}
