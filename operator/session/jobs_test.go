package session

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// begin makes a job of a CronJob now, as `kubectl create job --from` does, and
// waits until its pod runs.
func (s *stage) begin(cron *batchv1.CronJob, name string) *batchv1.Job {
	s.t.Helper()
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: name,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: *cron.Spec.JobTemplate.Spec.DeepCopy(),
	}
	s.must(s.Create(s.ctx, job))
	s.awaits("its pod runs", func() bool { return len(s.runs(job)) == 1 })
	return job
}

// runs are the pods of a job that run.
func (s *stage) runs(job *batchv1.Job) (running []corev1.Pod) {
	s.t.Helper()
	for _, pod := range s.podsOf(job) {
		if pod.Status.Phase == corev1.PodRunning {
			running = append(running, pod)
		}
	}
	return running
}

// finish ends the job's pod with a code.
func (s *stage) finish(job *batchv1.Job, code int32) {
	s.t.Helper()
	phase := corev1.PodSucceeded
	if code != 0 {
		phase = corev1.PodFailed
	}
	for _, pod := range s.runs(job) {
		s.setPod(&pod, phase, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.Now()}})
	}
}

// A job whose pod has failed waits for some seconds before it begins the next one.
// It has no pod then, and is not over: its next one would read the queue beside the
// developer's process.
func TestJobBetweenTwoTries(t *testing.T) {
	s := newStage(t)
	cron := &batchv1.CronJob{}
	object := s.object(`{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: ` + strings.ReplaceAll(jobTemplate, "NAME", "nightly") + `}}}}`)
	object.SetNamespace(s.namespace)
	s.must(s.Create(s.ctx, object))
	s.must(s.Get(s.ctx, client.ObjectKeyFromObject(object), cron))
	job := s.begin(cron, "nightly-1")
	s.finish(job, 1)

	s.start()
	s.askFor("alice", v1alpha1.Target{Group: "batch", Resource: "cronjobs", Name: "nightly", UID: cron.UID, Container: "worker"}, nil)
	s.awaits("the session waits for the job", func() bool {
		if s.isReady("alice") {
			t.Fatal("ready while a job goes on")
		}
		ready := s.conditionOf("alice", v1alpha1.ConditionReady)
		return ready.Reason == v1alpha1.ReasonOldPodsRunning && strings.Contains(ready.Message, "jobs to end") && strings.Contains(ready.Message, "nightly-1")
	})
	s.awaits("its next pod runs", func() bool { return len(s.runs(job)) == 1 })
	s.finish(job, 0)
	s.awaits("the session is ready", func() bool { return s.isReady("alice") })

	// Somebody begins a job by hand, which nothing but a policy keeps him from.
	job = s.begin(cron, "by-hand")
	operator := s.operator(s.WithWatch)
	// Nothing wakes the session of it: it is noticed at the next look, which is made here.
	s.awaits("the job is named, and the session not ready", func() bool {
		_ = s.reconcile(operator, "alice")
		if s.isReady("alice") {
			return false
		}
		c := s.conditionOf("alice", v1alpha1.ConditionHoldBroken)
		return c.Status == metav1.ConditionTrue && strings.Contains(c.Message, "these of its jobs go on: by-hand;")
	})
	s.finish(job, 0)
	s.awaits("the session is ready again", func() bool {
		_ = s.reconcile(operator, "alice")
		return s.isReady("alice")
	})
}
