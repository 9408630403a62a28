package story

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/workload"
)

// fails waits for a command to end with the exit code, having said each of the
// patterns as its error or hint and run nothing.
func (s *scene) fails(r *developer.Run, within time.Duration, code int, says ...string) {
	s.Helper()
	got, err := r.Exit(s.within(within))
	if err != nil {
		s.Fatalf("%v\n%s", err, r)
	}
	if got != code {
		s.Errorf("the exit code is %d, not %d\n%s", got, code, r)
	}
	for _, pattern := range says {
		if !regexp.MustCompile(pattern).MatchString(r.Err.String()) {
			s.Errorf("nothing says %q\n%s", pattern, r)
		}
	}
	if r.Out.String() != "" {
		s.Errorf("something was run\n%s", r)
	}
}

// What I got wrong is said at once, and the cluster is as it was.
func TestMistakes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	before := s.remember("web", 1)
	exec := func(args ...string) *developer.Run {
		return s.run("understudy", append([]string{"exec", "--copy-target", "--scale-down"}, args...)...)
	}
	echo := []string{"--", "echo", "it ran"}

	// A deployment that is not there.
	s.fails(exec(append([]string{"-t", "deployment/wed"}, echo...)...), patience, 125, `error: .*deployment "wed"`, `hint: `)
	// A container that it does not have: the ones that it has are named.
	s.fails(exec(append([]string{"-t", "deployment/web/container/wed"}, echo...)...), patience, 125, `error: .*container "wed"`, `web and sidecar`)
	// A command that I do not have.
	s.fails(exec("-t", "deployment/web", "--", "no-such-command-here"), patience, 127, `error: .*no-such-command-here`, `hint: `)
	// A namespace where I have no rights.
	s.fails(exec(append([]string{"-t", "deployment/nats", "-n", "kube-system"}, echo...)...), patience, 125, `error: .*kube-system`, `hint: `)
	s.unchanged(before)
}

// A user who may take over one deployment may not take over another.
func TestNotMyTarget(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	before := s.remember("web", 1)
	colleague := s.newUser("colleague-" + s.namespace)
	roles := theCluster.Client.RbacV1()
	_, err := roles.Roles(s.namespace).Create(s.ctx, &rbac.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "only-caller"},
		Rules: []rbac.PolicyRule{
			{APIGroups: []string{"understudy.dev"}, Resources: []string{"sessions"}, Verbs: []string{"get", "list", "watch", "create", "delete"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"takeover"}, ResourceNames: []string{"caller"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments", "replicasets"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"pods", "services", "events"}, Verbs: []string{"get", "list", "watch"}},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	_, err = roles.RoleBindings(s.namespace).Create(s.ctx, &rbac.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "only-caller"},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "only-caller"},
		Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: rbac.UserKind, Name: colleague.Name}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.dev = s.developer(colleague, nil)

	s.fails(s.takeOver("deployment/web", nil, "echo", "it ran"), patience, 125, `error: .*takeover`, `web`)
	// Nor by asking the API server without the command line tool.
	if err := theCluster.TrySession(s.ctx, colleague, s.namespace, "web", colleague.Name); err == nil {
		t.Error("a session on a target that the user may not take over was accepted")
	}
	if err := theCluster.TrySession(s.ctx, colleague, s.namespace, "caller", s.user.Name); err == nil {
		t.Error("a session in somebody else's name was accepted")
	}
	roles.Roles(s.namespace).Delete(s.ctx, "only-caller", metav1.DeleteOptions{})
	roles.RoleBindings(s.namespace).Delete(s.ctx, "only-caller", metav1.DeleteOptions{})
	s.unchanged(before)
}

// Somebody has the workload already: the second one is told who and since when,
// and can do nothing to the first one's session.
func TestHeldByAnother(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 2})
	second := s.newUser("second-" + s.namespace)
	s.grant(second, s.namespace)
	before := s.remember("web", 2)
	first := s.takeOver("deployment/web", nil, "sh", "-c", "echo up; sleep 1000")
	session := s.ready(first, "up")

	// The second one asks for the same.
	mine := s.dev
	s.dev = s.developer(second, nil)
	s.fails(s.takeOver("deployment/web", nil, "echo", "it ran"), patience, 125,
		`error: .*`+regexp.QuoteMeta(s.user.Name), `since `)
	s.dev = mine

	// And touches the first one's session, which the API server refuses.
	for what, err := range theCluster.Meddle(s.ctx, second, session) {
		if err == nil {
			t.Errorf("somebody else's session: %s was accepted", what)
		}
	}
	if wished, pods := s.replicas("web"); wished != 0 || len(pods) != 0 {
		t.Errorf("the first one's session is not what it was: %d wished, %v", wished, pods)
	}
	s.must(first.Interrupt())
	s.exits(first, 130)
	s.unchanged(before)
}

// The image of the stand-in cannot be pulled: I am told what the kubelet says,
// and nothing has changed.
func TestImageThatCannotBePulled(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	// Nobody serves images at that port, and nobody has to be asked for its name.
	const image = "127.0.0.1:1/nothing:1"
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "web", workload.Options{Replicas: workload.None, Image: image}))
	before := s.remember("web", 0)
	s.fails(s.takeOver("deployment/web", []string{"--setup-timeout", "15s"}, "echo", "it ran"), patience, 125, `error: (?s:.*)(ImagePullBackOff|ErrImagePull)`)
	s.unchanged(before)
}

// There is no room in the namespace's quota.
func TestQuotaExceeded(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	_, err := theCluster.Client.CoreV1().ResourceQuotas(s.namespace).Create(s.ctx, &core.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "small"},
		Spec:       core.ResourceQuotaSpec{Hard: core.ResourceList{core.ResourcePods: resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	s.must(err)
	before := s.remember("web", 1)
	s.untilQuotaCounts("small")
	s.fails(s.takeOver("deployment/web", nil, "echo", "it ran"), patience, 125, `error: (?s:.*)(quota)`, `small`)
	s.unchanged(before)
}

// The namespace does not take pods like the target's any more.
func TestPodSecurityViolation(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "web", workload.Options{Replicas: 1, Lax: true}))
	before := s.remember("web", 1)
	_, err := theCluster.Client.CoreV1().Namespaces().Patch(s.ctx, s.namespace, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
	s.must(err)
	s.fails(s.takeOver("deployment/web", nil, "echo", "it ran"), patience, 125, `error: (?s:.*)PodSecurity`)
	s.unchanged(before)
}

// untilQuotaCounts waits until the quota is in force: it is once its
// controller has counted.
func (s *scene) untilQuotaCounts(name string) {
	s.Helper()
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		q, err := theCluster.Client.CoreV1().ResourceQuotas(s.namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && len(q.Status.Hard) == 0 {
			err = fmt.Errorf("quota %s is not counted", name)
		}
		return err
	}))
}
