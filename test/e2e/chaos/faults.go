package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/fault"
)

// Phases of a session. The last begins with Ctrl-C.
const (
	beginning = "being set up"
	ready     = "ready"
	ending    = "being ended"
)

var everyPhase = []string{ready, beginning, ending}

// lease of the sessions.
const lease = 10 * time.Second

// refused is for how long what stands against a restore stands, and ill for how
// long the API server answers as it should not.
const (
	refused = time.Minute
	ill     = 30 * time.Second
)

// kase is one fault.
type kase struct {
	name   string
	phases []string
	// gone says that the developer's machine is not heard of any more: nobody ends
	// the session.
	gone bool
	// with prepares the stage before the session begins; undo takes that back.
	with func(context.Context, *stage) (undo func() error, err error)
	// whole says that the fault is the whole cluster's, and so that of every session.
	whole bool
	// outside has the operator run as a process of this machine, behind a proxy.
	outside bool
	// strike makes the fault; heal, if any, undoes it after a while, or when all is
	// back where the fault lasts.
	strike func(context.Context, *stage, *developer.Run) error
	after  time.Duration
	heal   func(context.Context, *stage, *developer.Run) error
}

var cases = []kase{
	{name: "SIGKILL of the CLI and all its processes", phases: everyPhase, gone: true, strike: kill},
	{name: "SIGSTOP of the CLI beyond its lease", phases: everyPhase, gone: true, strike: func(_ context.Context, _ *stage, r *developer.Run) error {
		for _, p := range r.Processes() {
			_ = syscall.Kill(p.PID, syscall.SIGSTOP) // it may have ended
		}
		return nil
	}},
	{name: "SIGKILL of the operator", phases: everyPhase, whole: true, strike: func(ctx context.Context, s *stage, _ *developer.Run) error {
		_, err := fault.KillOperator(ctx, s.cluster)
		return err
	}},
	{name: "SIGKILL of the agent", phases: everyPhase, strike: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return s.eachStandIn(ctx, func(pod core.Pod) error {
			_, err := fault.KillPod(&pod)
			return err
		})
	}},
	{name: "the stand-in evicted", phases: everyPhase, strike: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return s.eachStandIn(ctx, func(pod core.Pod) error {
			return s.cluster.Client.CoreV1().Pods(pod.Namespace).EvictV1(ctx, &policy.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
		})
	}},
	{name: "a quota that lets no pod start, for a minute from the session's end", phases: everyPhase, after: refused, strike: func(ctx context.Context, s *stage, _ *developer.Run) error {
		_, err := s.cluster.Client.CoreV1().ResourceQuotas(s.namespace).Create(ctx, &core.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "exhausted"}, Spec: core.ResourceQuotaSpec{Hard: core.ResourceList{core.ResourcePods: resource.MustParse("0")}},
		}, metav1.CreateOptions{})
		return err
	}, heal: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return s.cluster.Client.CoreV1().ResourceQuotas(s.namespace).Delete(ctx, "exhausted", metav1.DeleteOptions{})
	}},
	{name: "a webhook that denies every write to the workload, for a minute from the session's end", phases: everyPhase, after: refused, strike: deny, heal: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return s.cluster.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "chaos-"+s.namespace, metav1.DeleteOptions{})
	}},
	{name: "the API server killed and started again", phases: everyPhase, whole: true, strike: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return s.restartAPIServer(ctx)
	}},
	{name: "etcd killed and started again", phases: everyPhase, whole: true, strike: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return fault.RestartEtcd(ctx, s.cluster)
	}},
	{name: "the network between developer and cluster cut, packets dropped, beyond the lease", phases: everyPhase, gone: true, with: onLaptop, strike: cut},
	{name: "the network between developer and cluster cut, packets dropped, for 5 s", phases: everyPhase, with: onLaptop, strike: cut, after: lease / 2, heal: mend},
	{name: "the stand-in's node drained", phases: everyPhase, whole: true, after: lease, strike: drain, heal: func(ctx context.Context, s *stage, _ *developer.Run) error {
		return s.undrain(ctx)
	}},
	{name: "the API server answers 429 to CLI and operator for 30 s", phases: everyPhase, with: behindProxies, outside: true, after: ill, strike: answers(fault.TooMany), heal: passes},
	{name: "the API server answers 500 to CLI and operator for 30 s", phases: everyPhase, with: behindProxies, outside: true, after: ill, strike: answers(fault.InternalError), heal: passes},
	{name: "the API server answers CLI and operator nothing for 30 s", phases: everyPhase, with: behindProxies, outside: true, after: ill, strike: answers(fault.Nothing), heal: passes},
	{name: "a conflict on every first write of CLI and operator, all the time", phases: []string{ready}, with: conflicting, outside: true, strike: nothing, heal: passes},
	{name: "the next operator's clock an hour ahead", phases: everyPhase, outside: true, strike: operatorOff(time.Hour)},
	{name: "the next operator's clock an hour behind", phases: everyPhase, outside: true, strike: operatorOff(-time.Hour)},
	{name: "the developer's clock an hour ahead, and SIGKILL of the CLI", phases: []string{ready}, gone: true, with: developerOff(time.Hour), strike: kill},
	{name: "the developer's clock an hour ahead", phases: []string{ready}, with: developerOff(time.Hour), strike: nothing},
	{name: "the developer's clock an hour behind", phases: []string{ready}, with: developerOff(-time.Hour), strike: nothing},
}

func nothing(context.Context, *stage, *developer.Run) error { return nil }

func kill(_ context.Context, _ *stage, r *developer.Run) error {
	r.Kill()
	return nil
}

func (s *stage) restartAPIServer(ctx context.Context) error {
	if err := fault.KillAPIServer(ctx, s.cluster); err != nil {
		return err
	}
	return fault.StartAPIServer(ctx, s.cluster)
}

// deny makes a webhook that nobody answers, of the namespace's deployments.
func deny(ctx context.Context, s *stage, _ *developer.Run) error {
	fail, none := admission.Fail, admission.SideEffectClassNone
	_, err := s.cluster.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &admission.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "chaos-" + s.namespace},
		Webhooks: []admission.ValidatingWebhook{{
			Name: "nobody.chaos.example", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			TimeoutSeconds:    new(int32(1)),
			ClientConfig:      admission.WebhookClientConfig{Service: &admission.ServiceReference{Namespace: s.namespace, Name: "nobody"}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": s.namespace}},
			Rules: []admission.RuleWithOperations{{
				Operations: []admission.OperationType{admission.Update},
				Rule:       admission.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making a webhook: %w", err)
	}
	return nil
}
