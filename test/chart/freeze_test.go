package chart

import (
	"context"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// agents is the namespace that the chart makes.
const agents = "understudy-agents"

// frozen is a session that freezes the pod worker-0.
func frozen(ns, name, user string) *v1alpha1.Session {
	s := session(ns, name, user)
	s.Spec.Takeover = v1alpha1.TakeoverFreeze
	s.Spec.Target.Group, s.Spec.Target.Resource, s.Spec.Target.Name = "", "pods", "worker-0"
	return s
}

// Freezing needs the verb freeze on exactly that pod; the right to take a
// workload over is none.
func TestWhoMayFreeze(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.bind(t, ns, "jane", "ClusterRole", "understudy-user")
	onPod := func(verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"worker-0"}, Verbs: []string{verb}}
	}
	s.allow(t, ns, "joan", everySessionRight, onPod("freeze"))
	s.allow(t, ns, "stranger", everySessionRight, onPod("takeover"))
	for _, test := range []struct {
		name, user string
		change     func(*v1alpha1.Session)
		want       string
	}{
		{name: "with the chart's user role", user: "jane"},
		{name: "with the right on this one pod", user: "joan"},
		{
			name: "with the right on another pod", user: "joan", want: `missing is the verb "freeze" on pods "worker-1"`,
			change: func(s *v1alpha1.Session) { s.Spec.Target.Name = "worker-1" },
		},
		{name: "with the right to take over", user: "stranger", want: `missing is the verb "freeze" on pods "worker-0"`},
		{
			name: "a deployment", user: "jane", want: "only a pod can be frozen",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Group, s.Spec.Target.Resource = "apps", "deployments" },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := frozen(ns, "f", test.user)
			if test.change != nil {
				test.change(made)
			}
			check(t, s.as(t, test.user).Create(t.Context(), made, client.DryRunAll), test.want)
		})
	}
}

// Attaching needs the verb attach on exactly that pod, and neither the right to
// freeze it nor that to be without a target is one.
func TestWhoMayAttach(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.bind(t, ns, "jane", "ClusterRole", "understudy-user")
	onPod := func(verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"worker-0"}, Verbs: []string{verb}}
	}
	s.allow(t, ns, "joan", everySessionRight, onPod("attach"))
	s.allow(t, ns, "stranger", everySessionRight, onPod("freeze"), onPod("takeover"),
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"targetless"}})
	for _, test := range []struct{ name, user, pod, want string }{
		{name: "with the chart's user role", user: "jane", pod: "worker-0"},
		{name: "with the right on this one pod", user: "joan", pod: "worker-0"},
		{name: "with the right on another pod", user: "joan", pod: "worker-1", want: `missing is the verb "attach" on pods "worker-1"`},
		{name: "with the other rights", user: "stranger", pod: "worker-0", want: `missing is the verb "attach" on pods "worker-0"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := frozen(ns, "f", test.user)
			made.Spec.Takeover, made.Spec.Target.Name = v1alpha1.TakeoverNone, test.pod
			check(t, s.as(t, test.user).Create(t.Context(), made, client.DryRunAll), test.want)
		})
	}
}

// TestWhatTheOperatorMayMakePrivileged: in the agents' namespace it may make
// what a session needs there, and nothing that would give more of a node away.
func TestWhatTheOperatorMayMakePrivileged(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	const uid = types.UID("9e3f4f1c-35a5-4b53-9d0f-6b5e8b8c8c02")
	options := nodeagent.Options{
		Namespace: agents, SessionNamespace: ns, SessionName: "f", SessionUID: uid, Number: 1,
		Image: "understudy.dev/understudy-agent:0.1.0", NodeName: "node-1", Target: "9e3f4f1c-35a5-4b53-9d0f-6b5e8b8c8c03",
	}
	labels := nodeagent.LabelsOf(ns, "f", uid)
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: agents, Name: name, Labels: labels}
	}
	agent := func(change func(*corev1.Pod)) client.Object {
		p := nodeagent.Pod(options)
		if change != nil {
			change(p)
		}
		return p
	}
	role := func(change func(*rbacv1.Role)) client.Object {
		r := &rbacv1.Role{ObjectMeta: meta(nodeagent.Name(uid)), Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, ResourceNames: []string{nodeagent.PodName(uid, 1)}, Verbs: []string{"get", "create"}},
		}}
		if change != nil {
			change(r)
		}
		return r
	}
	const (
		named = "named for that session"
		shape = "only understudy's agents"
	)
	for _, test := range []struct {
		name   string
		object client.Object
		want   string
	}{
		{name: "the agent", object: agent(nil)},
		{name: "one that thaws", object: nodeagent.Thaw(options)},
		{name: "another image", object: agent(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "busybox" }), want: shape},
		{name: "another program", object: agent(func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "id"} }), want: shape},
		{name: "a second container", object: agent(func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "more", Image: p.Spec.Containers[0].Image})
		}), want: shape},
		{name: "an init container", object: agent(func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "more", Image: p.Spec.Containers[0].Image}}
		}), want: shape},
		{name: "the whole node", object: agent(func(p *corev1.Pod) { p.Spec.Volumes[0].HostPath.Path = "/" }), want: shape},
		{name: "another's secret", object: agent(func(p *corev1.Pod) { p.Spec.Volumes[2].Secret.SecretName = "registry" }), want: shape},
		{name: "the node's network", object: agent(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), want: shape},
		{name: "an account", object: agent(func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }), want: shape},
		{name: "another name", object: agent(func(p *corev1.Pod) { p.Name = "f-standin-1" }), want: named},
		{name: "the name of no session", object: agent(func(p *corev1.Pod) { delete(p.Labels, v1alpha1.SessionUIDLabel) }), want: named},
		{name: "the agent where people work", object: agent(func(p *corev1.Pod) { p.Namespace = ns }), want: named},
		{name: "the key", object: &corev1.Secret{ObjectMeta: meta(nodeagent.SecretName(uid, 1))}},
		{name: "another secret", object: &corev1.Secret{ObjectMeta: meta("registry")}, want: named},
		{name: "the lock", object: &coordinationv1.Lease{ObjectMeta: meta(nodeagent.LockName("x"))}},
		{name: "another lease", object: &coordinationv1.Lease{ObjectMeta: meta("x")}, want: named},
		{name: "the grant", object: role(nil)},
		{name: "a grant of another's agent", object: role(func(r *rbacv1.Role) { r.Rules[0].ResourceNames[0] = "freeze-other-1" }), want: "may grant only"},
		{name: "a grant of a lock", object: role(func(r *rbacv1.Role) {
			r.Rules[0] = rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"f"}, Verbs: []string{"update"}}
		}), want: "may grant only"},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, s.operator(t).Create(t.Context(), test.object, client.DryRunAll), test.want)
		})
	}

	t.Run("of what is there", func(t *testing.T) {
		s.agentsAccount(t)
		s.create(t, agent(nil))
		patch := func(text string) error {
			object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: nodeagent.PodName(uid, 1)}}
			return s.operator(t).Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(text)), client.DryRunAll)
		}
		check(t, patch(`{"metadata":{"finalizers":null}}`), "")
		check(t, patch(`{"metadata":{"annotations":{"a":"b"}}}`), "nothing of an agent's pod but its finalizers")
		check(t, patch(`{"spec":{"activeDeadlineSeconds":1}}`), "nothing of an agent's pod but its finalizers")
		check(t, patch(`{"metadata":{"labels":{"understudy.dev/session-uid":"other"}}}`), "named for that session")
	})
}

// agentsAccount makes the account that the cluster's own controllers make.
func (s *server) agentsAccount(t *testing.T) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: "default"}}
	if err := s.as(t, "").Create(t.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
}

// freezes has the real operator freeze a pod and see it thawed, with the test as
// the node: part of TestTheOperatorsRightsSuffice.
func (s *server) freezes(t *testing.T, ns string) {
	t.Helper()
	admin := s.as(t, "")
	s.agentsAccount(t)
	running := func(p *corev1.Pod, name string, state corev1.ContainerState) {
		t.Helper()
		// The test's kubelet may write to it too.
		before := p.DeepCopy()
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: name, Image: "x", ImageID: "x", ContainerID: "containerd://0123", State: state, Ready: state.Running != nil, Started: ptr.To(true),
		}}
		if err := admin.Status().Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	target := pod(ns, "worker-0", nil)
	target.Spec.NodeName = "node-1"
	s.create(t, target)
	alive := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	running(target, "worker", alive)

	asked := frozen(ns, "frozen", "jane")
	asked.Spec.Target.UID, asked.Spec.LeaseDurationSeconds = target.UID, 3600
	check(t, s.as(t, "jane").Create(t.Context(), asked), "")
	agent := &corev1.Pod{}
	eventually(t, "there is an agent", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKey{Namespace: agents, Name: nodeagent.PodName(asked.UID, 1)}, agent)
		return err == nil, client.IgnoreNotFound(err)
	})
	running(agent, nodeagent.AgentContainer, alive)
	eventually(t, "the frozen session is ready", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(asked), asked)
		return meta.IsStatusConditionTrue(asked.Status.Conditions, v1alpha1.ConditionReady), err
	})
	check(t, s.as(t, "jane").Delete(t.Context(), asked), "")
	eventually(t, "the agent is told to end", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(agent), agent)
		return agent.DeletionTimestamp != nil, err
	})
	running(agent, nodeagent.AgentContainer, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "thawed", FinishedAt: metav1.Now()}})
	if err := admin.Delete(t.Context(), agent, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	eventually(t, "the frozen session is gone", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(asked), &v1alpha1.Session{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	s.nothingLeft(t, ns)
	// Other tests leave agents of sessions that no operator was there for.
	s.nothingLeft(t, agents, client.MatchingLabels{v1alpha1.SessionLabel: asked.Name})
}

func TestAgentsNamespace(t *testing.T) {
	o, err := render(t, append(modern, "--set", "freeze.enabled=true")...)
	if err != nil {
		t.Fatal(err)
	}
	if level := o["Namespace/"+agents].GetLabels()["pod-security.kubernetes.io/enforce"]; level != "privileged" {
		t.Errorf("the agents' namespace enforces %q", level)
	}
	hasArg(t, o, "--agents-namespace="+agents)
	hasArg(t, o, "--agents-priority-class=system-node-critical")
	// One that speaks of another class would keep every agent out where one is asked for.
	quota := into[corev1.ResourceQuota](t, o, "ResourceQuota/understudy-agents").Spec
	if quota.ScopeSelector == nil || len(quota.ScopeSelector.MatchExpressions) != 1 || quota.ScopeSelector.MatchExpressions[0].Values[0] != "system-node-critical" || quota.Hard.Pods().Value() < 100_000 {
		t.Errorf("the agents' quota is %+v", quota)
	}
	if o, err = render(t, append(modern, "--set", "freeze.enabled=true,freeze.priorityClassName=")...); err != nil {
		t.Fatal(err)
	}
	for _, arg := range operator(t, o).Containers[0].Args {
		if strings.HasPrefix(arg, "--agents-priority-class") {
			t.Errorf("with no priority class there is %s", arg)
		}
	}
	if o["ResourceQuota/understudy-agents"] != nil {
		t.Error("with no priority class there is a quota")
	}
	_, err = render(t, append(modern, "--set", "freeze.enabled=true,freeze.namespace="+releaseNamespace)...)
	check(t, err, "the release's own")
	if o, err = render(t, append(modern, "--set", "freeze.enabled=false")...); err != nil {
		t.Fatal(err)
	}
	if o["Namespace/"+agents] != nil {
		t.Error("with freezing switched off there is a namespace for privileged agents")
	}
}
