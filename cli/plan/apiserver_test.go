package plan

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

func TestMain(m *testing.M) {
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	os.Exit(apitest.Main(m))
}

// place is a namespace of its own with a deployment in it, and who looks.
type place struct {
	*session.Client
	t     *testing.T
	admin *session.Client
}

func newPlace(t *testing.T, labels map[string]string) *place {
	t.Helper()
	reach := apitest.Config(t)
	first, err := session.NewClient(reach, "")
	must(t, err)
	knowAgent(t, first)
	operatorWorks(t, first)
	namespace, err := first.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-", Labels: labels}}, metav1.CreateOptions{})
	must(t, err)
	admin, err := session.NewClient(reach, namespace.Name)
	must(t, err)
	made := read[appsv1.Deployment](t, worker)
	made.Namespace, made.UID = namespace.Name, ""
	made.Spec.Selector = &metav1.LabelSelector{MatchLabels: made.Spec.Template.Labels}
	_, err = admin.Kube.AppsV1().Deployments(namespace.Name).Create(t.Context(), &made, metav1.CreateOptions{})
	must(t, err)
	return &place{Client: admin, t: t, admin: admin}
}

// as looks at the same place as somebody else.
func (p *place) as(user string) *place {
	p.t.Helper()
	reach := rest.CopyConfig(apitest.Config(p.t))
	reach.Impersonate.UserName = user
	client, err := session.NewClient(reach, p.Namespace)
	must(p.t, err)
	return &place{Client: client, t: p.t, admin: p.admin}
}

// knowAgent makes the policy by which the agent's image is known, as the chart
// does; it binds nobody.
func knowAgent(t *testing.T, c *session.Client) {
	t.Helper()
	policies := c.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	if _, err := policies.Get(t.Context(), "understudy-sessions", metav1.GetOptions{}); err == nil {
		return
	}
	_, err := policies.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "understudy-sessions", Annotations: map[string]string{
			v1alpha1.AgentImageAnnotation: "registry.example.com/agent:1", v1alpha1.OperatorNamespaceAnnotation: operatorNamespace,
		}},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{"understudy.dev"}, APIVersions: []string{"v1alpha1"}, Resources: []string{"sessions"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "true"}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// operatorNamespace is where the operator is said to run.
const operatorNamespace = "default"

// operatorWorks has one that leads for as long as the tests last.
func operatorWorks(t *testing.T, c *session.Client) {
	t.Helper()
	playOperator(t, c, 1, "operator-1", time.Now(), time.Hour)
}

// playOperator makes the operator's Deployment, with as many pods ready, and the
// Lease of the one that leads, which nobody renews.
func playOperator(t *testing.T, c *session.Client, ready int32, holder string, renewed time.Time, lasts time.Duration) {
	t.Helper()
	const name = "understudy-operator"
	d := read[appsv1.Deployment](t, worker)
	d.ObjectMeta = metav1.ObjectMeta{Name: name}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: d.Spec.Template.Labels}
	deployments, leases := c.Kube.AppsV1().Deployments(operatorNamespace), c.Kube.CoordinationV1().Leases(operatorNamespace)
	made, err := deployments.Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made, err = deployments.Create(t.Context(), &d, metav1.CreateOptions{})
	}
	must(t, err)
	made.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: ready}
	if ready == 0 {
		made.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(renewed)}}
	}
	_, err = deployments.UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	must(t, err)
	if err := leases.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		must(t, err)
	}
	_, err = leases.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(int32(lasts / time.Second)), RenewTime: ptr.To(metav1.NewMicroTime(renewed))},
	}, metav1.CreateOptions{})
	must(t, err)
}

// An operator that is installed and does nothing is in the way, and so is one that
// was taken away while its resources have stayed.
func TestOperatorIdle(t *testing.T) {
	p := newPlace(t, nil)
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	playOperator(t, p.admin, 0, "", then, time.Second)
	p.blocks("OperatorIdle: none of its pods is ready since 2026-01-02T03:04:05Z")
	playOperator(t, p.admin, 1, "", then, time.Second)
	p.blocks("OperatorIdle: nobody leads since 2026-01-02T03:04:05Z")
	playOperator(t, p.admin, 1, "operator-1", then, time.Second)
	p.blocks("OperatorIdle: nobody leads since 2026-01-02T03:04:05Z")
	operatorWorks(t, p.admin)
	p.blocks()

	policies := p.admin.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	must(t, policies.Delete(t.Context(), "understudy-sessions", metav1.DeleteOptions{}))
	p.blocks("NotInstalled: no operator is installed")
}

// plan looks and plans a takeover of the deployment; the target is looked up by
// an administrator, where somebody may not even do that.
func (p *place) plan() (Plan, *World) {
	p.t.Helper()
	ref, err := target.Parse("deployment/worker")
	must(p.t, err)
	found, err := target.Resolve(p.t.Context(), p.admin.Targets(), p.Namespace, ref)
	must(p.t, err)
	w := &World{Asked: &config.Config{ReleaseConnections: true}, Takeover: config.TakeoverScaleDown, Target: found}
	must(p.t, Look(p.t.Context(), p.Client, w, session.VerbTakeover))
	return Make(w), w
}

func (p *place) codes(severity Severity) []string {
	p.t.Helper()
	made, _ := p.plan()
	var codes []string
	for _, finding := range made.Findings {
		if finding.Severity == severity {
			codes = append(codes, string(finding.Code)+": "+finding.Says)
		}
	}
	return codes
}

// blocks expects exactly these to be in the way.
func (p *place) blocks(want ...string) {
	p.t.Helper()
	got := p.codes(Blocks)
	if len(got) != len(want) {
		p.t.Errorf("in the way: %q, want %q", got, want)
		return
	}
	for i := range want {
		code, part, _ := strings.Cut(want[i], ": ")
		if !strings.HasPrefix(got[i], code+": ") || !strings.Contains(got[i], part) {
			p.t.Errorf("in the way: %q, want %q", got[i], want[i])
		}
	}
}

// quota makes one, and plays the controller that counts.
func (p *place) quota(hard, used corev1.ResourceList) {
	p.t.Helper()
	quotas := p.admin.Kube.CoreV1().ResourceQuotas(p.Namespace)
	made, err := quotas.Create(p.t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "compute"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
	must(p.t, err)
	made.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: used}
	_, err = quotas.UpdateStatus(p.t.Context(), made, metav1.UpdateOptions{})
	must(p.t, err)
}

// allow gives a user a right in the place, and waits until it counts.
func (p *place) allow(user, verb, group, resource string) {
	p.t.Helper()
	allow(p.t, p.admin, user, verb, group, resource)
	other := p.as(user)
	for {
		allowed, err := other.Allowed(p.t.Context(), verb, p.Namespace, group, resource, "")
		must(p.t, err)
		if allowed {
			return
		}
	}
}

// Nothing in the way of an administrator: the API server has taken the stand-in,
// and nothing is there that was not before.
func TestLook(t *testing.T) {
	p := newPlace(t, nil)
	before := p.everything()
	made, w := p.plan()
	p.blocks()
	if !w.Trial.Taken || made.Blocked || len(made.Unseen) > 0 || w.Operator.AgentImage != "registry.example.com/agent:1" {
		t.Errorf("tried: %+v, planned: %+v", w.Trial, made)
	}
	if after := p.everything(); !slices.Equal(before, after) {
		t.Errorf("before there was %v, afterwards %v", before, after)
	}
}

// everything is every object of the namespace's that a session could touch, with
// its version.
func (p *place) everything() []string {
	p.t.Helper()
	var all []string
	deployments, err := p.admin.Kube.AppsV1().Deployments(p.Namespace).List(p.t.Context(), metav1.ListOptions{})
	must(p.t, err)
	for _, o := range deployments.Items {
		all = append(all, "deployment "+o.Name+" "+o.ResourceVersion)
	}
	pods, err := p.admin.Kube.CoreV1().Pods(p.Namespace).List(p.t.Context(), metav1.ListOptions{})
	must(p.t, err)
	for _, o := range pods.Items {
		all = append(all, "pod "+o.Name)
	}
	secrets, err := p.admin.Kube.CoreV1().Secrets(p.Namespace).List(p.t.Context(), metav1.ListOptions{})
	must(p.t, err)
	for _, o := range secrets.Items {
		all = append(all, "secret "+o.Name)
	}
	sessions, _, err := p.admin.List(p.t.Context())
	must(p.t, err)
	for _, o := range sessions {
		all = append(all, "session "+o.Name)
	}
	return all
}

// Who may make pods is told by the API server itself, who may not by what can be
// read: of the quota, of the limit range, and of Pod Security.
func TestInTheWay(t *testing.T) {
	one, none := quantities("1"), quantities("0")
	for name, c := range map[string]struct {
		labels         map[string]string
		arrange        func(*place)
		tried, untried string
	}{
		"quota": {nil, func(p *place) { p.quota(one, one) }, "AdmissionDenied: exceeded quota: compute", "QuotaExceeded: pods: 1 of 1 are used"},
		"room":  {nil, func(p *place) { p.quota(one, none) }, "", ""},
		"limits": {nil, func(p *place) {
			_, err := p.admin.Kube.CoreV1().LimitRanges(p.Namespace).Create(t.Context(), &corev1.LimitRange{
				ObjectMeta: metav1.ObjectMeta{Name: "bounds"},
				Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypePod, Max: corev1.ResourceList{"example.com/gpu": one["pods"]}}}},
			}, metav1.CreateOptions{})
			must(p.t, err)
		}, "AdmissionDenied: maximum example.com/gpu usage per Pod", "LimitRange: example.com/gpu of the pod"},
		"pod security": {map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}, func(*place) {},
			"AdmissionDenied: violates PodSecurity", "PodSecurity: allowPrivilegeEscalation"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, c.labels)
			p.t = t
			c.arrange(p)
			p.blocks(some(c.tried)...)
			// Ada may read everything and make sessions, but no pods.
			for _, right := range [][3]string{
				{"create", "understudy.dev", "sessions"}, {"get", "understudy.dev", "sessions"}, {"list", "understudy.dev", "sessions"},
				{"watch", "understudy.dev", "sessions"}, {"delete", "understudy.dev", "sessions"}, {"takeover", "apps", "deployments"},
				{"list", "", "resourcequotas"}, {"list", "", "limitranges"}, {"get", "", "namespaces"},
			} {
				p.allow("ada", right[0], right[1], right[2])
			}
			p.as("ada").blocks(some(c.untried)...)
		})
	}
}

func some(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func quantities(pods string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourcePods: quantity(pods)}
}

// Somebody without any right gets a plan all the same, which says what they lack
// and what could not be looked at.
func TestNobody(t *testing.T) {
	p := newPlace(t, nil)
	nobody := p.as("nobody")
	nobody.blocks("MissingRight: \"create\" on sessions.understudy.dev", "MissingRight: \"takeover\" on deployment/worker", "MissingRight: you may not get, list, watch, delete sessions")
	made, w := nobody.plan()
	var unseen []string
	for _, u := range made.Unseen {
		unseen = append(unseen, u.Why)
	}
	for _, want := range []string{"you may not list resourcequotas", "you may not list limitranges", "you may not get namespace " + p.Namespace, "you may not list services", "you may not list horizontalpodautoscalers"} {
		if !slices.Contains(unseen, want) {
			t.Errorf("not seen is %q, without %q", unseen, want)
		}
	}
	if w.Trial.Untried != "you may not create pods" {
		t.Errorf("tried: %+v", w.Trial)
	}
}

// A cluster that does not answer is an error, and no plan.
func TestUnanswered(t *testing.T) {
	p := newPlace(t, nil)
	_, w := p.plan()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Look(ctx, p.Client, w, session.VerbTakeover); err == nil {
		t.Error("a cluster that was not asked has answered")
	}
}

// One node that is cordoned is none, and another one is enough.
func TestLookForNodes(t *testing.T) {
	p := newPlace(t, nil)
	made, err := p.admin.Kube.AppsV1().Deployments(p.Namespace).Get(t.Context(), "worker", metav1.GetOptions{})
	must(t, err)
	made.Spec.Template.Spec.NodeSelector = map[string]string{"disk": p.Namespace}
	_, err = p.admin.Kube.AppsV1().Deployments(p.Namespace).Update(t.Context(), made, metav1.UpdateOptions{})
	must(t, err)
	p.blocks("NoNode: disk=" + p.Namespace)
	for _, cordoned := range []bool{true, false} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "n-", Labels: made.Spec.Template.Spec.NodeSelector}, Spec: corev1.NodeSpec{Unschedulable: cordoned}}
		_, err := p.admin.Kube.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
		must(t, err)
		if cordoned {
			p.blocks("NoNode: disk=")
		} else {
			p.blocks()
		}
	}
}
