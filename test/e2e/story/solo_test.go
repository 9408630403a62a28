package story

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/node"
	"understudy.dev/understudy/test/e2e/snapshot"
	"understudy.dev/understudy/test/e2e/workload"
)

// ownRights are what docs/thaw.md says that a freeze without an operator takes.
var ownRights = []rbac.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create", "get", "list", "watch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create", "get"}},
	{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list"}},
}

// alone gives the scene's developer the rights, and takes the user role away that
// the chart makes: nothing of the operator's is of use to them.
func (s *scene) alone() {
	s.Helper()
	roles := theCluster.Client.RbacV1()
	_, err := roles.Roles(s.namespace).Create(s.ctx, &rbac.Role{ObjectMeta: metav1.ObjectMeta{Name: "freeze"}, Rules: ownRights}, metav1.CreateOptions{})
	s.must(err)
	_, err = roles.RoleBindings(s.namespace).Create(s.ctx, &rbac.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "freeze"}, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "freeze"},
		Subjects: []rbac.Subject{{APIGroup: rbac.GroupName, Kind: rbac.UserKind, Name: s.user.Name}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.must(roles.RoleBindings(s.namespace).Delete(s.ctx, s.user.Name+"-understudy-user", metav1.DeleteOptions{}))
}

// agentImage is that of the operator's agents, which the nodes have.
func (s *scene) agentImage() string {
	s.Helper()
	found, err := theCluster.Client.AppsV1().Deployments(cluster.OperatorNamespace).List(s.ctx, metav1.ListOptions{})
	s.must(err)
	for _, deployment := range found.Items {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			for _, arg := range container.Args {
				if image, ok := strings.CutPrefix(arg, "--agent-image="); ok {
					return image
				}
			}
		}
	}
	s.Fatal("nobody says which image agents have")
	return ""
}

// pauseAlone types `understudy exec --pause --no-operator`.
func (s *scene) pauseAlone(target string, flags []string, command ...string) *developer.Run {
	s.Helper()
	return s.pause(target, append([]string{"--no-operator", "--agent-image", s.agentImage()}, flags...), command...)
}

// soloAgent is the pod that the developer has made for a frozen one; nil when there
// is none.
func (p *frozenPod) soloAgent() *core.Pod {
	p.Helper()
	pod, err := theCluster.Client.CoreV1().Pods(p.namespace).Get(p.ctx, "freeze-pod-"+string(p.before.UID), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	p.must(err)
	return pod
}

// inventory is what the scene's namespace holds.
func (s *scene) inventory() []string {
	s.Helper()
	found, err := snapshot.Inventory(s.ctx, theCluster, s.namespace)
	s.must(err)
	return found
}

// nothingLeft waits until the namespace holds what it held.
func (s *scene) nothingLeft(before []string) {
	s.Helper()
	var left string
	err := cluster.Until(s.within(patience), func(context.Context) error {
		if left = cmp.Diff(before, s.inventory()); left != "" {
			return errors.New("something is left over")
		}
		return nil
	})
	if err != nil {
		s.Errorf("%v (-before +after):\n%s", err, left)
	}
}

// No operator may be used, and the developer has none of its rights but their own to
// make the agent. The queue's only pod is frozen all the same; whatever ends, it goes
// on, and nothing is left.
func TestPauseWithoutOperator(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const messages = 1000
	s := newScene(t)
	s.alone()
	m := s.broker()
	pod := s.startPods("lone", workload.Options{}, "lone")[0]
	start := s.publish(m, 100)
	before := s.inventory()

	run := s.pauseAlone("pod/lone", nil, "worker", "--site=local")
	s.says(run, "connected to nats")
	pod.isFrozen("when the local process runs")
	during := s.publish(m, messages)
	if got := during.By("local") - start.By("local"); got != messages {
		t.Errorf("delivered to the local process: %d of %d", got, messages)
	}
	if got := during.By("cluster") - start.By("cluster"); got != 0 {
		t.Errorf("delivered to the frozen pod: %d", got)
	}

	// Who comes second is told who has it, with an operator and without.
	colleague := s.colleague()
	for flag, other := range map[string]*developer.Run{
		"--no-operator":   s.pauseAlone("pod/lone", nil, "true"),
		"by the operator": colleague.pause("pod/lone", nil, "true"),
	} {
		code, err := other.Exit(s.within(patience))
		s.must(err)
		if said := other.Err.String(); code == 0 || !strings.Contains(said, "held by "+s.user.Name) {
			t.Errorf("%s: somebody else's session ends with exit code %d and says:\n%s", flag, code, said)
		}
		pod.isFrozen("after somebody else tried, " + flag)
	}
	colleague.agentsGone()

	// Ctrl-C.
	began := time.Now()
	s.must(run.Interrupt())
	pod.thawed(began, soonThawed+busy)
	s.exits(run, 0)
	if agent := pod.soloAgent(); agent != nil {
		t.Errorf("the agent is there still: %+v", agent.Status)
	}
	after := s.publish(m, messages)
	if got := after.By("cluster") - during.By("cluster"); got != messages {
		t.Errorf("delivered to the thawed pod: %d of %d", got, messages)
	}
	pod.wentOn()
	s.dismiss(colleague)
	s.nothingLeft(before)
}

// colleague is another developer in the scene's namespace, who uses the operator.
func (s *scene) colleague() *scene {
	s.Helper()
	other := *s
	other.user = s.newUser("other-" + s.namespace)
	other.grant(other.user, s.namespace)
	other.dev = s.developer(other.user, nil)
	return &other
}

// dismiss takes the colleague's role and sessions away again.
func (s *scene) dismiss(colleague *scene) {
	s.Helper()
	for _, r := range colleague.runs {
		r.Kill()
	}
	sessions, err := theCluster.Sessions(s.ctx, s.namespace)
	s.must(err)
	for _, session := range sessions {
		if err := theCluster.DeleteSession(s.ctx, colleague.user, session); err != nil && !apierrors.IsNotFound(err) {
			s.Fatal(err)
		}
	}
	s.must(theCluster.Client.RbacV1().RoleBindings(s.namespace).Delete(s.ctx, colleague.user.Name+"-understudy-user", metav1.DeleteOptions{}))
}

// The developer's machine is gone, the agent is killed: no operator is there to see
// to it, and the pod goes on in the time that it would.
func TestPauseWithoutOperatorEndings(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	for name, test := range map[string]struct {
		do     func(*frozenPod, *developer.Run)
		within time.Duration
		// stays: what has ended is there until the next one comes.
		stays bool
	}{
		"SIGKILL of all on the developer's machine": {func(_ *frozenPod, r *developer.Run) { r.Kill() }, thawLease + soonThawed, true},
		"SIGKILL of the agent":                      {func(p *frozenPod, _ *developer.Run) { p.must(p.soloProcesses().Agent.Kill()) }, soonThawed, false},
		// Only the kubelet is left, which starts the agent again.
		"SIGKILL of agent and guard at once": {func(p *frozenPod, _ *developer.Run) {
			was := p.soloProcesses()
			p.must(errors.Join(was.Agent.Stop(), was.Guard.Stop()))
			p.must(errors.Join(was.Guard.Kill(), was.Agent.Kill()))
		}, 10 * time.Second, false},
		// The guard thaws, and the developer's machine has another agent prove it.
		"the agent's pod is deleted by force": {func(p *frozenPod, _ *developer.Run) {
			p.must(theCluster.Client.CoreV1().Pods(p.namespace).Delete(p.ctx, p.soloAgent().Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
		}, soonThawed, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.alone()
			pod := s.startPods("probed", workload.Options{Probes: []string{"http"}, Grace: 10}, "http")[0]
			before := s.inventory()
			run := s.pauseAlone("pod/http", []string{"--lease", thawLease.String()}, "sh", "-c", "echo it runs; sleep 1000")
			s.says(run, "it runs")
			pod.isFrozen("when the local process runs")
			began := time.Now()
			test.do(pod, run)
			pod.thawed(began, test.within+busy)
			if code, err := run.Exit(s.within(patience)); err != nil || code == 0 {
				t.Errorf("the command ends with %d, %v", code, err)
			}
			if test.stays {
				s.must(cluster.Until(s.within(patience), func(context.Context) error {
					if agent := pod.soloAgent(); agent == nil || agent.Status.Phase != core.PodSucceeded {
						return fmt.Errorf("the agent has not ended by itself: %+v", agent)
					}
					return nil
				}))
				next := s.pauseAlone("pod/http", nil, "true")
				s.exits(next, 0)
			}
			s.nothingLeft(before)
			pod.wentOn()
		})
	}
}

// soloProcesses are the agent that the developer has made, and its guard.
func (p *frozenPod) soloProcesses() node.Agent {
	p.Helper()
	pod := p.soloAgent()
	if pod == nil {
		p.Fatal("there is no agent")
	}
	agent, err := node.AgentOf(pod, pod.Labels[understudy.SessionUIDLabel])
	p.must(err)
	return agent
}
