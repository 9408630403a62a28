package story

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

// The worst day: agent, guard, the agent's pod, the Session and the lock on the pod
// are all gone, and no operator knows of it. The pod stays frozen until the
// administrator says so, by the pod's name or for the whole node.
func TestThawByHand(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	for name, args := range map[string]func(*frozenPod) []string{
		"pod":  func(p *frozenPod) []string { return []string{"--pod", p.before.Name, "-n", p.namespace} },
		"node": func(p *frozenPod) []string { return []string{"--node", p.before.Spec.NodeName} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			pod := s.startPods("probed", workload.Options{Probes: []string{"http"}}, "http")[0]
			run := s.pause("pod/http", nil, "sh", "-c", "echo it runs; sleep 1000")
			session := s.ready(run, "it runs")
			run.Kill()
			s.forgotten(pod, session)
			pod.isFrozen("when nobody knows of it any more")

			kubeconfig, err := os.ReadFile(theCluster.Kubeconfig)
			s.must(err)
			admin, err := theMachine.Developer(kubeconfig)
			s.must(err)
			s.dev = admin
			hand := s.run("understudy", append([]string{"thaw"}, args(pod)...)...)
			s.exits(hand, 0)
			if pod.container.Frozen() {
				t.Error("it is frozen still")
			}
			if rules, err := pod.container.Rules(); err != nil || len(rules) > 0 {
				t.Errorf("in the pod's network there is still %q, %v", rules, err)
			}
			// An operator that was faster had an agent that only thaws made, too.
			if said := hand.Err.String(); !strings.Contains(said, "by an agent that only thaws") {
				t.Errorf("it says:\n%s", said)
			}
			pod.notRestarted()
		})
	}
}

// forgotten takes away all that could thaw a pod.
func (s *scene) forgotten(p *frozenPod, session understudy.Session) {
	s.Helper()
	was := s.agentOf(session)
	s.must(errors.Join(was.Agent.Stop(), was.Guard.Stop()))
	// The Session goes before its operator can have made another agent. No policy
	// lets anybody else take its finalizer off, so it is done in the operator's name.
	operator := rest.CopyConfig(theCluster.REST)
	operator.Impersonate.UserName = "system:serviceaccount:" + cluster.OperatorNamespace + ":understudy-operator"
	client, err := dynamic.NewForConfig(operator)
	s.must(err)
	sessions := client.Resource(understudy.Resource).Namespace(s.namespace)
	gone := func(err error) {
		s.Helper()
		if !apierrors.IsNotFound(err) {
			s.must(err)
		}
	}
	gone(theCluster.Dynamic.Resource(understudy.Resource).Namespace(s.namespace).Delete(s.ctx, session.Name, metav1.DeleteOptions{}))
	_, err = sessions.Patch(s.ctx, session.Name, "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	gone(err)
	gone(theCluster.Client.CoordinationV1().Leases(agents).Delete(s.ctx, "pod-"+string(p.before.UID), metav1.DeleteOptions{}))
	s.forgetPod(agents, session.Status.Agent.PodName)
	s.must(errors.Join(was.Guard.Kill(), was.Agent.Kill()))
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		left, err := theCluster.Sessions(ctx, s.namespace)
		if err == nil && len(left) > 0 {
			err = errors.New("the session is there still")
		}
		return err
	}))
	s.agentsGone()
}
