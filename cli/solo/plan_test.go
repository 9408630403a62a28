package solo

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// What stands against it is said before anything is made.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		change     func(*corev1.Namespace, *corev1.Pod, *rest.Config)
		options    Options
		says, hint string
	}{
		"nothing": {},
		"a probe that a frozen container fails": {
			change: func(_ *corev1.Namespace, p *corev1.Pod, _ *rest.Config) {
				p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
			},
			says: "pod worker-0 cannot be frozen: the liveness probe of container app runs a command", hint: "helm install understudy",
		},
		"the node's own network": {
			change: func(_ *corev1.Namespace, p *corev1.Pod, _ *rest.Config) { p.Spec.HostNetwork = true },
			says:   "hostNetwork",
		},
		"no right to anything": {
			change: func(_ *corev1.Namespace, _ *corev1.Pod, user *rest.Config) { user.Impersonate.UserName = "nobody" },
			says:   "pods \"worker-0\" is forbidden",
		},
		"a namespace without privileged pods": {
			change: func(n *corev1.Namespace, _ *corev1.Pod, _ *rest.Config) {
				n.Labels["pod-security.kubernetes.io/enforce"] = "baseline"
			},
			says: "does not let in the agent that freezes, which has to be privileged: pods \"freeze-pod-", hint: "pod-security.kubernetes.io/enforce=privileged",
		},
		"a namespace that is not there": {options: Options{Namespace: "nowhere"}, says: "there is no namespace nowhere", hint: "--agent-namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.change)
			plan, err := w.check(test.options)
			if test.says == "" {
				if err != nil || plan.Node() != "node-1" {
					t.Errorf("it says %v", err)
				} else if notices := strings.Join(plan.target.Notices, "\n"); !strings.Contains(notices, "can get onto node node-1 as root") || !strings.Contains(notices, "--agent-namespace") {
					t.Errorf("it notes %q", notices)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(failure.Hint(err), test.hint) {
				t.Errorf("it says %v\nhint: %s", err, failure.Hint(err))
			}
			w.nothingLeft(w.pod.Namespace)
		})
	}
}

// Each right that is missing is named, and where.
func TestRightsAreNamed(t *testing.T) {
	w := newWorld(t, func(_ *corev1.Namespace, _ *corev1.Pod, user *rest.Config) { user.Impersonate.UserName = "joan" })
	w.grant("joan", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}})
	var err error
	w.until("joan may look", func() bool {
		_, err = w.check(Options{})
		return err != nil && strings.Contains(err.Error(), "rights that you lack")
	})
	if !strings.HasSuffix(err.Error(), "rights that you lack in namespace "+w.pod.Namespace+": create pods, delete pods, create pods/portforward, get pods/portforward, create secrets, delete secrets, list services") {
		t.Errorf("it says %v", err)
	}
	w.grant("joan",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create", "get"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list"}},
	)
	w.until("joan's rights have come to be", func() bool {
		_, err = w.check(Options{})
		return err == nil
	})
	// They are all that it takes, to the end.
	s := w.made(Options{})
	w.freezes()
	w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionReady) })
	results := w.end(s)
	w.until("it is asked to end", func() bool { return w.frozenBy().DeletionTimestamp != nil })
	w.says(w.frozenBy(), corev1.PodSucceeded, ended(0, "thawed"))
	w.lets(w.frozenBy())
	if r := <-results; r.err != nil {
		t.Error(r.err)
	}
	w.nothingLeft(w.pod.Namespace)
}

func (w *world) grant(user string, rules ...rbacv1.PolicyRule) {
	w.t.Helper()
	role, err := w.admin.Kube.RbacV1().Roles(w.pod.Namespace).Create(w.t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: "role-"}, Rules: rules}, metav1.CreateOptions{})
	w.must(err)
	_, err = w.admin.Kube.RbacV1().RoleBindings(w.pod.Namespace).Create(w.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "role-"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	w.must(err)
}

// One agent has a pod. The second is told whose it is; what has ended by itself is
// cleared away.
func TestOneAgentForAPod(t *testing.T) {
	w := newWorld(t, nil)
	first, err := w.begin(Options{Owner: "ada@laptop"})
	w.must(err)
	plan := &Plan{client: w.client, options: Options{Namespace: w.pod.Namespace, Image: "x", Owner: "joan@desk"}, uid: "other", pod: w.pod, target: w.target()}
	for _, try := range []func() error{
		func() error { _, err := w.check(Options{Owner: "joan@desk"}); return err },
		func() error { _, err := plan.makeAgent(t.Context(), func(string) {}); return err },
	} {
		if err := try(); err == nil || !strings.HasPrefix(err.Error(), "pod/worker-0 is held by ada@laptop since 2") {
			t.Errorf("the second is told %v", err)
		}
	}
	// Her machine is gone, and the lease has run out.
	agent, _ := first.last()
	w.says(agent, corev1.PodSucceeded, ended(0, "thawed in 1 ms: the lease has run out"))
	if _, err := w.check(Options{Owner: "joan@desk"}); err != nil {
		t.Errorf("what has ended is in the way: %v", err)
	}
	w.lets(agent) // as the deletion of what has ended does on a node
	second, err := w.begin(Options{Owner: "joan@desk"})
	w.must(err)
	now, _ := second.last()
	if now.UID == agent.UID || now.Annotations[nodeagent.OwnerAnnotation] != "joan@desk" {
		t.Errorf("the agent is %s's", now.Annotations[nodeagent.OwnerAnnotation])
	}
}

// An agent whose owner's machine went before it began is somebody's only as long as
// it may begin: then whoever comes next has the pod. One that runs is its owner's.
func TestAgentThatNeverBegan(t *testing.T) {
	w := newWorld(t, nil)
	first, err := w.begin(Options{Owner: "ada@laptop"})
	w.must(err)
	agent, _ := first.last()
	secret, err := w.admin.Kube.CoreV1().Secrets(agent.Namespace).Get(t.Context(), agent.Name, metav1.GetOptions{})
	w.must(err)
	var told settings.Config
	w.must(json.Unmarshal(secret.Data[settings.ConfigFile], &told))
	until := agent.CreationTimestamp.Add(3 * time.Minute) // two for setting up
	if !told.Freeze.NotAfter.Equal(until) {
		t.Errorf("it may begin until %v, and was made at %v", told.Freeze.NotAfter, agent.CreationTimestamp)
	}
	if _, err := w.check(Options{Owner: "joan@desk"}); !strings.Contains(failure.Hint(err), "one that does not by "+until.UTC().Format(time.RFC3339)) {
		t.Errorf("meanwhile the second is told %v\nhint: %s", err, failure.Hint(err))
	}
	w.later.Store(int64(4 * time.Minute))
	w.freezes()
	if _, err := w.check(Options{Owner: "joan@desk"}); !strings.Contains(failure.Hint(err), "when its lease has run out") {
		t.Errorf("of one that runs the second is told %v\nhint: %s", err, failure.Hint(err))
	}
	w.says(agent, corev1.PodPending, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}})
	if _, err := w.check(Options{Owner: "joan@desk"}); err != nil {
		t.Errorf("what never began is in the way: %v\nhint: %s", err, failure.Hint(err))
	}
	type begun struct {
		session *Session
		err     error
	}
	begins := make(chan begun, 1)
	go func() {
		s, err := w.begin(Options{Owner: "joan@desk"})
		begins <- begun{s, err}
	}()
	w.until("it is taken away", func() bool { return w.frozenBy().DeletionTimestamp != nil })
	w.lets(agent)
	second := <-begins
	w.must(second.err)
	if now, _ := second.session.last(); now.UID == agent.UID || now.Annotations[nodeagent.OwnerAnnotation] != "joan@desk" {
		t.Errorf("the agent is %s's", now.Annotations[nodeagent.OwnerAnnotation])
	}
}

// In a namespace of its own the agent belongs to no pod, and what others have left
// there is swept.
func TestAnotherNamespace(t *testing.T) {
	w := newWorld(t, func(n *corev1.Namespace, _ *corev1.Pod, _ *rest.Config) {
		n.Labels["pod-security.kubernetes.io/enforce"] = "baseline"
	})
	agents, err := w.admin.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agents-"}}, metav1.CreateOptions{})
	w.must(err)
	left := nodeagent.Solo(nodeagent.SoloOptions{Namespace: agents.Name, Session: "before", Owner: "jane", Image: "x", Target: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "gone", Name: "gone", UID: "gone"}, Spec: corev1.PodSpec{NodeName: "node-1"},
	}})
	left, err = w.admin.Kube.CoreV1().Pods(agents.Name).Create(t.Context(), left, metav1.CreateOptions{})
	w.must(err)
	w.says(left, corev1.PodSucceeded, ended(0, "thawed"))
	s, err := w.begin(Options{Namespace: agents.Name})
	w.must(err)
	for _, notice := range s.plan.target.Notices {
		if strings.Contains(notice, "--agent-namespace") {
			t.Errorf("of the namespace of its own it is noted: %s", notice)
		}
	}
	agent, _ := s.last()
	if agent.Namespace != agents.Name || len(agent.OwnerReferences) > 0 {
		t.Errorf("the agent is %+v", agent.ObjectMeta)
	}
	if swept := w.agent(agents.Name, left.Name); swept != nil && swept.DeletionTimestamp == nil {
		t.Error("what another has left there is there still")
	}
}

// An operator's session that has the pod is named, where it may be seen.
func TestOperatorHasThePod(t *testing.T) {
	w := newWorld(t, nil)
	_, public, err := session.NewKey()
	w.must(err)
	made, err := w.client.Create(t.Context(), v1alpha1.SessionSpec{
		Target: w.target().Target, Takeover: v1alpha1.TakeoverFreeze, Owner: v1alpha1.Owner{Username: "jane"}, ClientKey: public,
	})
	w.must(err)
	if _, err := w.check(Options{}); err != nil {
		t.Errorf("a session that has not come to the pod is in the way: %v", err)
	}
	w.must(w.admin.Kube.CoreV1().RESTClient().Patch("application/merge-patch+json").
		AbsPath("/apis/understudy.dev/v1alpha1/namespaces", made.Namespace, "sessions", made.Name, "status").
		Body([]byte(`{"status":{"frozen":{"uid":"` + string(w.pod.UID) + `","nodeName":"node-1","containerID":"c"}}}`)).Do(t.Context()).Error())
	if _, err := w.check(Options{}); err == nil || !strings.Contains(err.Error(), "pod/worker-0 is held by jane since ") || !strings.Contains(failure.Hint(err), made.Name) {
		t.Errorf("it says %v", err)
	}
}
