package chart

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// TestTheOperatorsRightsSuffice follows a session with the real operator, run
// with the chart's own arguments as the chart's own account, beside the
// cluster's own deployment controllers. Nothing that it asks for may be
// forbidden, by RBAC or by the policies.
func TestTheOperatorsRightsSuffice(t *testing.T) {
	s := installed(t)
	defer s.controllers(t, "deployment-controller,replicaset-controller,statefulset-controller,job-controller,cronjob-controller,garbage-collector-controller")()
	said, stop := s.runOperator(t)
	defer func() {
		stop()
		for line := range strings.Lines(said()) {
			if strings.Contains(line, "forbidden") || strings.Contains(line, "denied") {
				t.Errorf("the operator may not do all that it does: %s", line)
			}
		}
		if t.Failed() {
			t.Logf("the operator said:\n%s", said())
		}
	}()
	ns := s.namespace(t, nil)
	defer s.kubelet(t, ns)()
	admin := s.as(t, "")
	key := client.ObjectKey{Namespace: ns, Name: "worker"}

	three := int32(3)
	labels := map[string]string{"app": "worker"}
	worker := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "worker"}}},
			},
		},
	}
	s.create(t, worker)
	available := func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, key, worker)
		return worker.Status.ObservedGeneration == worker.Generation && worker.Status.AvailableReplicas == *worker.Spec.Replicas &&
			*worker.Spec.Replicas > 0, err
	}
	eventually(t, "three workers run", available)

	asked := session(ns, "s", "jane")
	asked.Spec.Target.UID = worker.UID
	asked.Spec.LeaseDurationSeconds = 3600
	if err := s.as(t, "jane", "system:masters").Create(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session is ready", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(asked), asked)
		return meta.IsStatusConditionTrue(asked.Status.Conditions, v1alpha1.ConditionReady), err
	})
	if n := s.workers(t, ns); n != 0 {
		t.Errorf("%d workers run although the session is ready", n)
	}

	// A stranger's number starts no pod, and is what comes back.
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":4}}`))
	check(t, s.as(t, "stranger", "system:masters").SubResource("scale").Patch(t.Context(), worker, patch), "")
	eventually(t, "the operator has seen the stranger's number", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(asked), asked)
		return asked.Status.Record.Replicas == 4, err
	})
	if n := s.workers(t, ns); n != 0 {
		t.Errorf("%d workers run although the workload is held", n)
	}

	// The owner has what the session grants, and nothing beside it.
	jane := s.as(t, "jane")
	lease := &coordinationv1.Lease{}
	check(t, jane.Get(t.Context(), client.ObjectKeyFromObject(asked), lease), "")
	now := metav1.NowMicro()
	lease.Spec.RenewTime = &now
	check(t, jane.Update(t.Context(), lease), "")
	check(t, jane.Get(t.Context(), key, worker), "forbidden")
	check(t, s.as(t, "joan").Get(t.Context(), client.ObjectKeyFromObject(asked), lease), "forbidden")
	// Everybody may see which operator there is.
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{}
	check(t, s.as(t, "joan").Get(t.Context(), client.ObjectKey{Name: "understudy-sessions"}, policy), "")
	if policy.Annotations[v1alpha1.OperatorImageAnnotation] == "" || policy.Annotations[v1alpha1.AgentImageAnnotation] == "" {
		t.Errorf("the policy does not say which operator runs: %v", policy.Annotations)
	}
	check(t, s.as(t, "joan").List(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyList{}), "forbidden")
	if workloads, says := policy.Annotations[v1alpha1.OperatorWorkloadsAnnotation]; !says || !strings.Contains(workloads, "scaledobjects.keda.sh") {
		t.Errorf("the policy does not say what the operator may touch: %v", policy.Annotations)
	}
	// And whether it works: the Lease of the one that leads, and no other there.
	home := policy.Annotations[v1alpha1.OperatorNamespaceAnnotation]
	leader := client.ObjectKey{Namespace: home, Name: "understudy-operator"}
	if err := s.as(t, "joan").Get(t.Context(), leader, &coordinationv1.Lease{}); client.IgnoreNotFound(err) != nil {
		t.Errorf("joan may not read who leads in namespace %q: %v", home, err)
	}
	check(t, s.as(t, "joan").List(t.Context(), &coordinationv1.LeaseList{}, client.InNamespace(home)), "forbidden")

	check(t, jane.Delete(t.Context(), asked), "forbidden")
	s.bind(t, ns, "jane", "ClusterRole", "understudy-user")
	// The API server takes a moment to see a new binding.
	eventually(t, "jane may end her session", func(ctx context.Context) (bool, error) {
		err := jane.Delete(ctx, asked)
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
	eventually(t, "the session is gone", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(asked), &v1alpha1.Session{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	eventually(t, "the workers run again", available)
	if *worker.Spec.Replicas != 4 || len(worker.Annotations[v1alpha1.ClaimAnnotation]) != 0 {
		t.Errorf("the workload came back with %d replicas and annotations %v", *worker.Spec.Replicas, worker.Annotations)
	}
	s.nothingLeft(t, ns)

	s.otherKinds(t, ns)
	s.freezes(t, ns)

	// A session whose owner is silent is ended by the operator itself.
	silent := session(ns, "silent", "jane")
	silent.Spec.Target.UID = worker.UID
	silent.Spec.LeaseDurationSeconds = 5
	if err := s.as(t, "jane", "system:masters").Create(t.Context(), silent); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the operator has ended the silent session", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(silent), silent)
		return meta.IsStatusConditionTrue(silent.Status.Conditions, v1alpha1.ConditionRestored), err
	})
	if got := meta.FindStatusCondition(silent.Status.Conditions, v1alpha1.ConditionReady).Reason; got != v1alpha1.ReasonLeaseExpired {
		t.Errorf("the silent session ended for the reason %s", got)
	}
	eventually(t, "the workers run again", available)
	s.nothingLeft(t, ns)
}

// otherKinds holds one workload of each kind that has rights of its own, and puts
// it back.
func (s *server) otherKinds(t *testing.T, ns string) {
	t.Helper()
	admin := s.as(t, "")
	store := statefulSet(ns, "store", 2)
	set := replicaSet(ns, "bare", "bare", "", 2)
	cron := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "reports"},
		Spec:       batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: job(ns, "", "").Spec}},
	}
	daemon := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "logs"},
		Spec:       appsv1.DaemonSetSpec{Selector: store.Spec.Selector, Template: store.Spec.Template},
	}
	s.create(t, store, set, cron, daemon, job(ns, "report", ""))
	report := &batchv1.Job{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "report"}, report); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stateful set was seen by its controller", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(store), store)
		return store.Status.CurrentRevision != "" && store.Status.Replicas == 2, err
	})
	var asked []*v1alpha1.Session
	for _, target := range []v1alpha1.Target{
		{Group: "apps", Resource: "statefulsets", Name: "store", UID: store.UID},
		{Group: "apps", Resource: "replicasets", Name: "bare", UID: set.UID},
		{Group: "batch", Resource: "cronjobs", Name: "reports", UID: cron.UID},
		{Group: "batch", Resource: "jobs", Name: "report", UID: report.UID},
		{Group: "apps", Resource: "daemonsets", Name: "logs", UID: daemon.UID},
	} {
		a := session(ns, target.Name, "jane")
		a.Spec.LeaseDurationSeconds, a.Spec.RestartOK = 3600, true
		target.Container = "worker"
		a.Spec.Target = target
		if target.Resource == "daemonsets" {
			a.Spec.Takeover = v1alpha1.TakeoverCopy
		}
		check(t, s.as(t, "jane").Create(t.Context(), a), "")
		asked = append(asked, a)
	}
	for _, a := range asked {
		eventually(t, "the session of "+a.Name+" is ready", func(ctx context.Context) (bool, error) {
			err := admin.Get(ctx, client.ObjectKeyFromObject(a), a)
			return meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionReady), err
		})
		check(t, s.as(t, "jane").Delete(t.Context(), a), "")
	}
	for _, a := range asked {
		eventually(t, "the session of "+a.Name+" is gone", func(ctx context.Context) (bool, error) {
			err := admin.Get(ctx, client.ObjectKeyFromObject(a), &v1alpha1.Session{})
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
	}
	eventually(t, "the pods of the stateful set are back, past the gate", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(store), store)
		return *store.Spec.Replicas == 2 && store.Status.Replicas == 2, err
	})
	s.nothingLeft(t, ns)
}

// nothingLeft waits until nothing that was made for a session is there, of those
// that the options choose.
func (s *server) nothingLeft(t *testing.T, ns string, of ...client.ListOption) {
	t.Helper()
	of = append(of, client.InNamespace(ns), client.HasLabels{v1alpha1.SessionLabel})
	for _, list := range []client.ObjectList{
		&corev1.PodList{}, &corev1.SecretList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &coordinationv1.LeaseList{},
	} {
		eventually(t, "nothing is left", func(ctx context.Context) (bool, error) {
			err := s.as(t, "").List(ctx, list, of...)
			return meta.LenList(list) == 0, err
		})
	}
}

// workers counts the workload's pods that run, or may yet.
func (s *server) workers(t *testing.T, ns string) int {
	t.Helper()
	var pods corev1.PodList
	if err := s.as(t, "").List(t.Context(), &pods, client.InNamespace(ns), client.MatchingLabels{"app": "worker"}); err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels[v1alpha1.SessionLabel] != "" || over(p) }))
}

// over says whether all containers of the pod have ended: such a pod may be
// there for a moment more, until its kubelet takes it away.
func over(pod corev1.Pod) bool {
	statuses := pod.Status.ContainerStatuses
	return len(statuses) == len(pod.Spec.Containers) &&
		!slices.ContainsFunc(statuses, func(s corev1.ContainerStatus) bool { return s.State.Terminated == nil })
}

// runOperator builds and runs the operator with the arguments that the chart
// gives it, and returns what it said so far and how to end it.
func (s *server) runOperator(t *testing.T) (said func() string, stop func()) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "understudy-operator")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "understudy.dev/understudy/cmd/understudy-operator").CombinedOutput(); err != nil {
		t.Fatalf("building the operator: %v\n%s", err, out)
	}
	k := kubeconfig(s.config)
	k.AuthInfos["test"].Impersonate = operatorUser
	k.AuthInfos["test"].ImpersonateGroups = []string{"system:serviceaccounts", "system:serviceaccounts:" + releaseNamespace, "system:authenticated"}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(k, file); err != nil {
		t.Fatal(err)
	}
	o, err := render(t, append(modern, "--set", "freeze.enabled=true")...)
	if err != nil {
		t.Fatal(err)
	}
	// The ports would be the machine's own here. The agent's image is never pulled.
	args := append([]string{"--kubeconfig=" + file}, operator(t, o).Containers[0].Args...)
	args = append(args, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--log-level=debug")
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$(POD_NAMESPACE)", releaseNamespace)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log lockedBuffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("starting the operator: %v", err)
	}
	return log.String, func() {
		cancel()
		_ = cmd.Wait()
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: releaseNamespace, Name: "understudy-operator"}}
		if err := s.as(t, "").Delete(t.Context(), lease); client.IgnoreNotFound(err) != nil {
			t.Errorf("deleting the operator's lease: %v", err)
		}
	}
}

// kubelet starts and ends the pods of a namespace as a node would, until the
// function that it returns is called.
func (s *server) kubelet(t *testing.T, ns string) func() {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"}}
	s.create(t, node)
	c := s.as(t, "")
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		events, err := c.Watch(ctx, &corev1.PodList{}, client.InNamespace(ns))
		if err != nil {
			t.Errorf("watching the pods of %s: %v", ns, err)
			return
		}
		defer events.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case event, open := <-events.ResultChan():
				if !open {
					return
				}
				// A conflict is followed by the event of what it conflicted with.
				if pod, isPod := event.Object.(*corev1.Pod); isPod && event.Type != "DELETED" {
					err := movePod(ctx, c, node.Name, pod)
					if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) && ctx.Err() == nil {
						t.Errorf("moving pod %s on: %v", pod.Name, err)
					}
				}
			}
		}
	})
	return func() {
		cancel()
		ended.Wait()
	}
}

// movePod moves a pod one step on in its life.
func movePod(ctx context.Context, c client.Client, node string, pod *corev1.Pod) error {
	set := func(phase corev1.PodPhase, ready corev1.ConditionStatus, state corev1.ContainerState) error {
		pod.Status.Phase = phase
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
		pod.Status.ContainerStatuses = nil
		for _, container := range pod.Spec.Containers {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
				Name: container.Name, Image: container.Image, Ready: ready == corev1.ConditionTrue, State: state,
			})
		}
		return c.Status().Update(ctx, pod)
	}
	switch {
	case pod.Spec.NodeName == "":
		return c.SubResource("binding").Create(ctx, pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node}})
	case pod.DeletionTimestamp.IsZero() && pod.Status.Phase != corev1.PodRunning:
		return set(corev1.PodRunning, corev1.ConditionTrue, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}})
	case !pod.DeletionTimestamp.IsZero() && pod.Status.Phase == corev1.PodRunning:
		return set(corev1.PodSucceeded, corev1.ConditionFalse, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()}})
	case !pod.DeletionTimestamp.IsZero():
		return c.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	}
	return nil
}

// lockedBuffer may be read while a program writes to it.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
