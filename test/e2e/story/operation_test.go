package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

const policy = "understudy-sessions"

// The operator is not running: I am told, and the cluster is as it was.
func TestNoOperator(t *testing.T) {
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	before := s.remember("web", 1)
	s.scaleOperator(0)
	t.Cleanup(func() { s.scaleOperator(1) })
	s.fails(s.takeOver("deployment/web", nil, "echo", "it ran"), patience, 125, `error: .*operator`, `hint: `)
	s.unchanged(before)
}

// scaleOperator changes how many operators run and waits for it.
func (s *scene) scaleOperator(n int32) {
	s.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	_, err := theCluster.Client.AppsV1().Deployments(cluster.OperatorNamespace).Patch(s.ctx, "understudy-operator", types.MergePatchType, patch, metav1.PatchOptions{})
	s.must(err)
	s.must(theCluster.Available(s.within(patience), cluster.OperatorNamespace, "understudy-operator", n))
}

// The policy that says who may start sessions is not installed: the operator
// refuses to act, and says so.
func TestPolicyMissing(t *testing.T) {
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	before := s.remember("web", 1)
	bindings := theCluster.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	binding, err := bindings.Get(s.ctx, policy, metav1.GetOptions{})
	s.must(err)
	s.must(bindings.Delete(s.ctx, policy, metav1.DeleteOptions{}))
	binding.ObjectMeta = metav1.ObjectMeta{Name: binding.Name, Labels: binding.Labels, Annotations: binding.Annotations}
	t.Cleanup(func() {
		made, err := bindings.Create(context.Background(), binding, metav1.CreateOptions{})
		if err != nil {
			t.Errorf("putting the policy back: %v", err)
			return
		}
		// Sessions that are hardly younger than the policy are refused, as it
		// may not have been in force when they were made.
		<-time.After(time.Until(made.CreationTimestamp.Add(5 * time.Second)))
	})
	s.fails(s.takeOver("deployment/web", nil, "echo", "it ran"), patience, 125, `error: .*`+policy, `hint: `)
	s.unchanged(before)
}

// The chart is upgraded under an open session, which goes on; and uninstalled,
// which gives the workload back first.
func TestUpgradeAndUninstall(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: it would uninstall the operator of a cluster that is not ours")
	}
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 2})
	before := s.remember("worker", 2)
	run := s.takeOver("deployment/worker", nil, "worker", "--site=local")
	s.ready(run, "connected to")

	// helm upgrade, with another operator pod as its result.
	s.helm("upgrade", "understudy", top()+"/charts/understudy", "--namespace", cluster.OperatorNamespace,
		"--reuse-values", "--wait", "--timeout", "3m", "--set", "operator.podAnnotations.story=upgraded")
	t.Cleanup(s.install)
	now := s.publish(m, 100)
	if now.By("cluster") != 0 || now.By("local") != 100 {
		t.Errorf("after the upgrade: %d to the cluster's pods, %d of 100 here", now.By("cluster"), now.By("local"))
	}
	if run.Ended() {
		t.Fatal("an upgrade has ended a session")
	}

	// helm uninstall: the session is ended, the workload is back, then the
	// operator goes.
	s.helm("uninstall", "understudy", "--namespace", cluster.OperatorNamespace, "--wait", "--timeout", "5m")
	if code, err := run.Exit(s.within(patience)); err != nil || code == 0 {
		t.Errorf("a session that was taken away has the exit code %d, %v", code, err)
	}
	s.unchanged(before)
	crd, err := theCluster.Client.Discovery().ServerResourcesForGroupVersion("understudy.dev/v1alpha1")
	if err != nil || len(crd.APIResources) == 0 {
		t.Errorf("the resource definition is gone: %v", err)
	}
}

// install is make install, and then waits until a session that is asked for is
// younger than the policies by more than the operator wants of it.
func (s *scene) install() {
	s.Helper()
	if out, err := exec.Command(top() + "/.ci/install").CombinedOutput(); err != nil {
		s.Fatalf("installing it again: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
	defer cancel()
	s.must(cluster.Until(ctx, func(ctx context.Context) error {
		binding, err := theCluster.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, policy, metav1.GetOptions{})
		if err == nil && time.Since(binding.CreationTimestamp.Time) < 5*time.Second {
			err = errors.New("the policies may not be in force everywhere yet")
		}
		return err
	}))
}

// Somebody deletes the resource definition, and with it all sessions: my workload
// is back before the last of them is gone, and what others deploy is not kept from
// it while there is none.
func TestResourceDefinitionDeleted(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: it would delete the sessions of a cluster that is not ours")
	}
	s := newScene(t)
	s.start("worker", workload.Options{Replicas: 2})
	before := s.remember("worker", 2)
	run := s.takeOver("deployment/worker", nil, "sh", "-c", "echo it runs; exec sleep 1000")
	s.ready(run, "it runs")

	definitions := theCluster.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	t.Cleanup(s.install)
	s.must(definitions.Delete(s.ctx, "sessions.understudy.dev", metav1.DeleteOptions{}))
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		_, err := definitions.Get(ctx, "sessions.understudy.dev", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("the definition is still there: %w", err)
	}))
	s.must(theCluster.Available(s.within(patience), s.namespace, "worker", 2))
	if code, err := run.Exit(s.within(patience)); err != nil || code == 0 {
		t.Errorf("a session that was taken away has the exit code %d, %v", code, err)
	}
	worker, err := theCluster.Client.AppsV1().Deployments(s.namespace).Get(s.ctx, "worker", metav1.GetOptions{})
	s.must(err)
	try := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	other := metav1.ObjectMeta{Name: "other", Labels: worker.Spec.Template.Labels}
	_, err = theCluster.Client.AppsV1().Deployments(s.namespace).Create(s.ctx, &apps.Deployment{ObjectMeta: other, Spec: worker.Spec}, try)
	s.must(err)
	_, err = theCluster.Client.CoreV1().Pods(s.namespace).Create(s.ctx, &core.Pod{ObjectMeta: other, Spec: worker.Spec.Template.Spec}, try)
	s.must(err)

	// It is installed again: nothing has to be put back any more.
	s.install()
	s.unchanged(before)
}

// The agent gets into the stand-in by an image volume and by an init container,
// both in a namespace that takes only pods of the restricted level.
func TestDeliveries(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: it would upgrade the operator of a cluster that is not ours")
	}
	s := newScene(t)
	_, err := theCluster.Client.CoreV1().Namespaces().Patch(s.ctx, s.namespace, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
	s.must(err)
	s.start("web", workload.Options{Replicas: 1})
	before := s.remember("web", 1)
	t.Cleanup(func() { s.deliver("auto") })
	for delivery, wanted := range map[string]func(core.PodSpec) bool{
		"image": func(p core.PodSpec) bool {
			return slices.ContainsFunc(p.Volumes, func(v core.Volume) bool { return v.Image != nil })
		},
		"init": func(p core.PodSpec) bool { return len(p.InitContainers) == 1 },
	} {
		s.deliver(delivery)
		run := s.takeOver("deployment/web/container/web", nil, "sh", "-c", "probe lookup web; probe say tcp 127.0.0.1:9400 hello; sleep 1000")
		session := s.ready(run, "sidecar says hello")
		pod, err := theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, session.Status.Agent.PodName, metav1.GetOptions{})
		s.must(err)
		if !wanted(pod.Spec) {
			t.Errorf("delivery %s: the stand-in has the init containers %v and volumes %v", delivery, pod.Spec.InitContainers, pod.Spec.Volumes)
		}
		s.must(run.Interrupt())
		s.exits(run, 130)
		s.unchanged(before)
	}
}

// deliver has the operator deliver the agent in one way.
func (s *scene) deliver(delivery string) {
	s.Helper()
	s.helm("upgrade", "understudy", top()+"/charts/understudy", "--namespace", cluster.OperatorNamespace,
		"--reuse-values", "--wait", "--timeout", "3m", "--set", "agent.delivery="+delivery)
}

// helm runs helm as the cluster's administrator.
func (s *scene) helm(args ...string) {
	s.Helper()
	command := exec.CommandContext(s.ctx, os.Getenv("E2E_HELM"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+theCluster.Kubeconfig)
	if out, err := command.CombinedOutput(); err != nil {
		s.Fatalf("helm %v: %v\n%s", args, err, out)
	}
}
