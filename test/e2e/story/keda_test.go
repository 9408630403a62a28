package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/controller"
	"understudy.dev/understudy/test/e2e/queue"
	"understudy.dev/understudy/test/e2e/workload"
)

// with runs another project's controller in the story's namespace.
func (s *scene) with(c controller.Controller) {
	s.Helper()
	if missing := c.Missing(); missing != "" {
		s.Skip(missing)
	}
	stop, err := c.Run(s.within(3*time.Minute), theCluster, s.namespace)
	s.Cleanup(func() {
		if stop == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := stop(ctx); err != nil {
			s.Errorf("clearing away: %v", err)
		}
	})
	s.must(err)
}

var (
	scaledObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
	scaledJobs    = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledjobs"}
)

// told is one of KEDA's objects, without what its operator says about it, and
// which of its fields are ours.
func (s *scene) told(resource schema.GroupVersionResource, name string) map[string]any {
	s.Helper()
	object, err := theCluster.Dynamic.Resource(resource).Namespace(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	unstructured.RemoveNestedField(object.Object, "status")
	for _, entry := range object.GetManagedFields() {
		if strings.Contains(entry.Manager, "understudy") {
			object.Object["field manager "+entry.Manager] = entry.FieldsV1.String()
		}
	}
	for _, field := range []string{"resourceVersion", "generation", "managedFields"} {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
	return object.Object
}

// paused is what KEDA itself says of an object.
func (s *scene) paused(resource schema.GroupVersionResource, name string) bool {
	s.Helper()
	object, err := theCluster.Dynamic.Resource(resource).Namespace(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, ok := c.(map[string]any)
		return ok && condition["type"] == "Paused" && condition["status"] == "True"
	})
}

// generation of a deployment, which every change of its spec raises.
func (s *scene) generation(name string) int64 {
	s.Helper()
	d, err := theCluster.Client.AppsV1().Deployments(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	return d.Generation
}

// wished waits until KEDA has a deployment at that number.
func (s *scene) wished(name string, replicas int32) {
	s.Helper()
	s.must(cluster.Until(s.within(patience), func(context.Context) error {
		if got, _ := s.replicas(name); got != replicas {
			return fmt.Errorf("deployment %s wishes %d, not %d", name, got, replicas)
		}
		return nil
	}))
}

// KEDA's own operator scales on the broker's own count of the messages that wait.
// While I stand in for the worker it does not wake it, however many wait, though it
// sees them: another deployment shows that, which it scales by the same queue. When
// I have left it does what it was told before.
func TestKEDA(t *testing.T) {
	s := newScene(t)
	s.with(controller.KEDA)
	m := s.broker()
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "worker", workload.Options{Replicas: workload.None}))
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "scaled", workload.Options{Namespace: s.namespace, Scaled: []string{"worker", "witness"}}))

	// KEDA works here: it wakes the worker for ten messages, and lets it sleep when
	// they are done.
	if c := s.publish(m, 10); c.By("cluster") != 10 {
		t.Fatalf("KEDA has not woken the worker: %+v", c)
	}
	for _, c := range []struct {
		name string
		// told is what the ScaledObject is told before I come, and untold takes it
		// back afterwards.
		told, untold string
		// replicas that the worker has by that.
		replicas int32
	}{
		{"at zero", `{}`, `{}`, 0},
		{"at one", `{"spec": {"minReplicaCount": 1}}`, `{"spec": {"minReplicaCount": 0}}`, 1},
		{"paused before", `{"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}`, `{"metadata": {"annotations": {"autoscaling.keda.sh/paused": null}}}`, 0},
		{"paused at two", `{"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": "2"}}}`, `{"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": null}}}`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.part(t)
			s.wished("worker", 0)
			s.wished("witness", 0)
			s.tell("worker", c.told)
			s.must(theCluster.Available(s.within(patience), s.namespace, "worker", c.replicas))
			before, start := s.told(scaledObjects, "worker"), s.counters(m)

			run := s.takeOver("deployment/worker", nil, "sh", "-c", "echo up; sleep 1000")
			s.remembers(s.ready(run, "up"), c.replicas)
			made, generation := s.podsMade("worker"), s.generation("worker")

			// Messages wait, KEDA sees them, and the worker is left alone.
			const messages = 50
			s.must(workload.Publish(s.within(patience), theCluster, s.namespace, messages, 0))
			s.wished("witness", 1)
			s.remembers(s.ready(run, "up"), c.replicas)
			if !s.paused(scaledObjects, "worker") {
				t.Error("KEDA does not say that it is paused")
			}
			// A number of KEDA's that was brought back to zero would be seen by this.
			if now := s.generation("worker"); now != generation {
				t.Errorf("somebody has written the worker's spec: generation %d, not %d", now, generation)
			}
			if wished, _ := s.replicas("worker"); wished != 0 {
				t.Errorf("the worker wishes %d", wished)
			}
			if pods := made(); len(pods) != 0 {
				t.Errorf("pods were started: %v", pods)
			}
			if now := s.counters(m); now.Waiting != messages || now.Delivered != start.Delivered {
				t.Errorf("%d messages wait, of %d; %d were delivered", now.Waiting, messages, now.Delivered-start.Delivered)
			}

			// I leave, and whoever was told to takes them.
			s.must(run.Interrupt())
			s.exits(run, 130)
			s.gone()
			if diff := cmp.Diff(before, s.told(scaledObjects, "worker")); diff != "" {
				t.Errorf("the ScaledObject is not what it was (-before +after):\n%s", diff)
			}
			if c.replicas > 0 {
				s.wished("worker", c.replicas)
			}
			s.tell("worker", c.untold)
			after, err := m.Settled(s.within(patience))
			s.must(err)
			if got := after.By("cluster") - start.By("cluster"); got < messages {
				t.Errorf("%d were delivered to the cluster's pods, of %d", got, messages)
			}
		})
	}
}

// KEDA makes jobs by the queue's length. While I stand in for them it makes none,
// however many messages wait; when I have left it goes on.
func TestKEDAJobs(t *testing.T) {
	s := newScene(t)
	s.with(controller.KEDA)
	m := s.broker()
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "scaled", workload.Options{Namespace: s.namespace, Scaled: []string{"witness"}, Jobs: true}))

	// KEDA works here: its jobs take ten messages, and when they are done it makes
	// no more.
	start := s.publish(m, 10)
	if start.By("cluster") < 10 {
		t.Fatalf("KEDA has made no jobs: %+v", start)
	}
	s.wished("witness", 0)
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		list, err := theCluster.Client.BatchV1().Jobs(s.namespace).List(ctx, metav1.ListOptions{})
		s.must(err)
		for _, job := range list.Items {
			if job.Status.CompletionTime == nil && job.Status.Active > 0 {
				// It has come too late for a message: nobody waits for it.
				background := metav1.DeletePropagationBackground
				err := theCluster.Client.BatchV1().Jobs(s.namespace).Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &background})
				return errors.Join(fmt.Errorf("job %s runs", job.Name), err)
			}
		}
		return nil
	}))
	before := s.told(scaledJobs, "orders")

	// I take their place.
	run := s.takeOver("scaledjobs.keda.sh/orders", nil, "sh", "-c", "echo up; sleep 1000")
	s.ready(run, "up")
	made, start := s.jobs(), s.counters(m)

	// Messages wait, and KEDA sees them.
	const messages = 20
	s.must(workload.Publish(s.within(patience), theCluster, s.namespace, messages, 0))
	s.wished("witness", 1)
	s.ready(run, "up")
	if !s.paused(scaledJobs, "orders") {
		t.Error("KEDA does not say that it is paused")
	}
	if diff := cmp.Diff(made, s.jobs()); diff != "" {
		t.Errorf("jobs were made (-before +after):\n%s", diff)
	}
	if now := s.counters(m); now.Waiting != messages || now.Delivered != start.Delivered {
		t.Errorf("%d messages wait, of %d; %d were delivered", now.Waiting, messages, now.Delivered-start.Delivered)
	}

	// I leave, and KEDA's jobs take them.
	s.must(run.Interrupt())
	s.exits(run, 130)
	s.gone()
	if diff := cmp.Diff(before, s.told(scaledJobs, "orders")); diff != "" {
		t.Errorf("the ScaledJob is not what it was (-before +after):\n%s", diff)
	}
	after, err := m.Settled(s.within(patience))
	s.must(err)
	if got := after.By("cluster") - start.By("cluster"); got < messages {
		t.Errorf("%d were delivered to KEDA's jobs, of %d", got, messages)
	}
}

// jobs are the names of all in the namespace, ended ones too: KEDA keeps a hundred.
func (s *scene) jobs() []string {
	s.Helper()
	list, err := theCluster.Client.BatchV1().Jobs(s.namespace).List(s.ctx, metav1.ListOptions{})
	s.must(err)
	var names []string
	for _, job := range list.Items {
		names = append(names, job.Name)
	}
	slices.Sort(names)
	return names
}

// part is the scene as one part of its story sees it, which ends what it has begun.
func (s *scene) part(t *testing.T) *scene {
	part := *s
	part.T, part.runs = t, nil
	t.Cleanup(func() {
		for _, r := range part.runs {
			if t.Failed() {
				t.Logf("%s", r)
			}
			r.Kill()
		}
	})
	return &part
}

func (s *scene) remembers(session understudy.Session, replicas int32) {
	s.Helper()
	if r := session.Status.Record; r == nil || r.Replicas != replicas {
		s.Errorf("%+v is remembered, not %d replicas", r, replicas)
	}
}

// tell changes a ScaledObject, as a person does.
func (s *scene) tell(name, patch string) {
	s.Helper()
	_, err := theCluster.Dynamic.Resource(scaledObjects).Namespace(s.namespace).
		Patch(s.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	s.must(err)
}

func (s *scene) counters(m queue.Monitor) queue.Counters {
	s.Helper()
	c, err := m.Read(s.within(patience))
	s.must(err)
	return c
}
