package chart

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

var (
	// everySessionRight is all that RBAC can give on sessions but for `end`.
	everySessionRight = rbacv1.PolicyRule{
		APIGroups: []string{"understudy.dev"}, Resources: []string{"sessions", "sessions/status", "sessions/scale"},
		Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
	}
	takeoverWorker = rbacv1.PolicyRule{
		APIGroups: []string{"apps"}, Resources: []string{"deployments"}, ResourceNames: []string{"worker"},
		Verbs: []string{"takeover"},
	}
)

func TestWhoMayCreateASession(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	elsewhere := s.namespace(t, nil)
	s.bind(t, ns, "jane", "ClusterRole", "understudy-user")
	s.allow(t, ns, "joan", everySessionRight, takeoverWorker)
	s.allow(t, ns, "stranger", everySessionRight)
	s.allow(t, ns, "jim", everySessionRight, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"targetless"}})
	s.allow(t, ns, "josh", everySessionRight, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"worker-0"}, Verbs: []string{"targetless", "takeover"},
	})
	s.allow(t, ns, "jo", everySessionRight, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"targetless", "create"}})
	s.allow(t, elsewhere, "jane", everySessionRight)
	noTarget := func(s *v1alpha1.Session) {
		s.Spec.Takeover, s.Spec.Target = v1alpha1.TakeoverNone, v1alpha1.Target{}
	}

	placed := func(s *v1alpha1.Session) {
		noTarget(s)
		s.Spec.Agent.NodeSelector, s.Spec.Agent.PriorityClassName = map[string]string{"disk": "ssd"}, "high"
	}

	const missing = `missing is the verb "takeover" on `
	for _, test := range []struct {
		name   string
		user   string
		change func(*v1alpha1.Session)
		want   string
	}{
		{name: "with the chart's user role", user: "jane"},
		{
			name: "of a stateful set, with the chart's user role", user: "jane",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Resource = "statefulsets" },
		},
		{
			name: "of an Argo rollout, with the chart's user role", user: "jane",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Group, s.Spec.Target.Resource = "argoproj.io", "rollouts" },
		},
		{name: "without a target, with the chart's user role", user: "jane", change: noTarget},
		{name: "without a target, with the right to it", user: "jim", change: noTarget},
		{
			name: "without a target, with resources of the agent", user: "jim",
			change: func(s *v1alpha1.Session) {
				noTarget(s)
				s.Spec.Agent.Resources = v1alpha1.AgentResources{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("0.5")}, Limits: corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("2Gi"), "ephemeral-storage": resource.MustParse("0")},
				}
			},
		},
		{
			name: "without a target, placed by who may make no pods", user: "jim",
			change: func(s *v1alpha1.Session) {
				noTarget(s)
				s.Spec.Agent.Tolerations, s.Spec.Agent.Labels = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, map[string]string{"a": "b"}
			},
			want: `user "jim" may not choose labels, tolerations of the agent: missing is the verb "create" on pods in namespace "` + ns + `"`,
		},
		{name: "without a target, placed by who may make pods", user: "jo", change: placed},
		{name: "of a deployment, placed by who may make pods", user: "root", change: func(s *v1alpha1.Session) { s.Spec.Agent.NodeSelector = map[string]string{"a": "b"} }, want: "of an agent with a target only the resources can be asked for"},
		{name: "with more resources of the agent than it gets", user: "root", change: func(s *v1alpha1.Session) {
			s.Spec.Agent.Resources.Requests = corev1.ResourceList{"memory": resource.MustParse("3Gi")}
		}, want: "of an agent there are requests and limits of cpu up to 2"},
		{name: "with less than nothing", user: "root", change: func(s *v1alpha1.Session) {
			s.Spec.Agent.Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("-1")}
		}, want: "of an agent there are requests and limits of cpu up to 2"},
		{name: "with devices", user: "root", change: func(s *v1alpha1.Session) {
			s.Spec.Agent.Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
		}, want: "of an agent there are requests and limits of cpu up to 2"},
		{name: "with less than an agent lives on", user: "root", change: func(s *v1alpha1.Session) {
			s.Spec.Agent.Resources.Limits = corev1.ResourceList{"memory": resource.MustParse("8Mi")}
		}, want: "of an agent there are requests and limits of cpu up to 2"},
		{
			name: "with a label of ours", user: "root",
			change: func(s *v1alpha1.Session) {
				noTarget(s)
				s.Spec.Agent.Labels = map[string]string{v1alpha1.SessionLabel: "x"}
			},
			want: "labels of understudy.dev are not the owner's to give",
		},
		{
			name: "without a target, with the right on one pod", user: "josh", change: noTarget,
			want: `may not start a session without a target: missing is the verb "targetless" on pods in namespace "` + ns + `"`,
		},
		{
			name: "without a target, with the right on a deployment", user: "joan", change: noTarget,
			want: `missing is the verb "targetless" on pods in namespace`,
		},
		{
			name: "with a target, with the right to be without", user: "jim",
			want: missing + `deployments.apps "worker"`,
		},
		{
			name: "with a target that is not taken over", user: "root", want: "only a pod can be attached to",
			change: func(s *v1alpha1.Session) { s.Spec.Takeover = v1alpha1.TakeoverNone },
		},
		{
			name: "that takes nothing over, by name", user: "root", want: "every takeover but None needs a target",
			change: func(s *v1alpha1.Session) { s.Spec.Target = v1alpha1.Target{} },
		},
		{name: "with the right on this one deployment", user: "joan"},
		{
			name: "with the right on another deployment", user: "joan",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Name = "billing" },
			want:   missing + `deployments.apps "billing" in namespace "` + ns + `"`,
		},
		{
			name: "with the right on another resource", user: "jane",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Resource = "controllerrevisions" },
			want:   missing + `controllerrevisions.apps "worker"`,
		},
		{
			name: "with the right in another group", user: "jane",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Group = "apps.example.com" },
			want:   missing + `deployments.apps.example.com "worker"`,
		},
		{
			name: "in the core group", user: "jane",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Group, s.Spec.Target.Resource = "", "podtemplates" },
			want:   missing + `podtemplates "worker"`,
		},
		{
			name: "of a subresource, whatever rights there are", user: "root",
			change: func(s *v1alpha1.Session) { s.Spec.Target.Resource = "deployments/scale" },
			want:   "lower-case plural",
		},
		{name: "with every right but takeover", user: "stranger", want: missing + `deployments.apps "worker"`},
		{
			name: "in somebody else's name", user: "jane",
			change: func(s *v1alpha1.Session) { s.Spec.Owner.Username = "joan" },
			want:   `spec.owner.username must be your own name, "jane"`,
		},
		{
			name: "in somebody else's name, as an administrator", user: "root",
			change: func(s *v1alpha1.Session) { s.Spec.Owner.Username = "joan" },
			want:   `spec.owner.username must be your own name, "root"`,
		},
		{
			name: "with a right that holds in another namespace", user: "jane",
			change: func(s *v1alpha1.Session) { s.Namespace = elsewhere },
			want:   missing + `deployments.apps "worker" in namespace "` + elsewhere + `"`,
		},
		{
			name: "with a finalizer", user: "jane",
			change: func(s *v1alpha1.Session) { s.Finalizers = []string{v1alpha1.Finalizer} },
			want:   "only the operator writes the finalizers",
		},
		{
			name: "with an owner", user: "jane",
			change: func(s *v1alpha1.Session) {
				s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "1"}}
			},
			want: "only the operator writes the owner references",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := session(ns, "s", test.user)
			if test.change != nil {
				test.change(made)
			}
			var groups []string
			if test.user == "root" {
				groups = []string{"system:masters"}
			}
			check(t, s.as(t, test.user, groups...).Create(t.Context(), made, client.DryRunAll), test.want)
		})
	}
}

func TestWhoMayDeleteASession(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.bind(t, ns, "jane", "ClusterRole", "understudy-user")
	s.bind(t, ns, "joan", "ClusterRole", "understudy-user")
	s.bind(t, ns, "ann", "ClusterRole", "understudy-admin")
	s.allow(t, ns, "stranger", everySessionRight)
	s.own(t, ns, "janes", "jane")

	const missing = `session "janes" belongs to "jane": to end it, user "`
	for _, test := range []struct {
		name, user string
		groups     []string
		want       string
	}{
		{name: "its owner", user: "jane"},
		{name: "another user of the namespace", user: "joan", want: missing + `joan" is missing the verb "end"`},
		{name: "one who may delete any object of the kind", user: "stranger", want: missing + `stranger" is missing the verb "end"`},
		{name: "one with the admin role", user: "ann"},
		{name: "an administrator of the cluster", user: "root", groups: []string{"system:masters"}},
		{name: "the operator", user: operatorUser},
		{name: "the namespace controller", user: "system:serviceaccount:kube-system:namespace-controller"},
		{name: "the garbage collector", user: "system:serviceaccount:kube-system:generic-garbage-collector"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := s.as(t, test.user, test.groups...).Delete(t.Context(), session(ns, "janes", ""), client.DryRunAll)
			check(t, err, test.want)
		})
	}
}

func TestDeletingACollectionAsksForEachSession(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.allow(t, ns, "stranger", everySessionRight)
	s.own(t, ns, "janes", "jane")

	stranger := s.as(t, "stranger")
	check(t, stranger.DeleteAllOf(t.Context(), &v1alpha1.Session{}, client.InNamespace(ns)), `"janes" belongs to "jane"`)
	check(t, s.as(t, "").Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "janes"}, &v1alpha1.Session{}), "")

	mine := s.namespace(t, nil)
	s.allow(t, mine, "stranger", everySessionRight)
	s.own(t, mine, "mine", "stranger")
	check(t, stranger.DeleteAllOf(t.Context(), &v1alpha1.Session{}, client.InNamespace(mine)), "")
	check(t, s.as(t, "").Get(t.Context(), client.ObjectKey{Namespace: mine, Name: "mine"}, &v1alpha1.Session{}), "not found")
}

func TestWhoMayWriteASession(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.allow(t, ns, "stranger", everySessionRight)
	s.own(t, ns, "mine", "stranger")
	const (
		collector = "system:serviceaccount:kube-system:generic-garbage-collector"
		root      = "root"
	)

	for _, test := range []struct {
		name, user string
		before     func(*v1alpha1.Session)
		write      func(context.Context, client.Client, *v1alpha1.Session) error
		want       string
	}{
		{name: "the status, its owner", user: "stranger", write: writeStatus, want: "only the operator writes the status"},
		{name: "the status, an administrator", user: root, write: writeStatus, want: "only the operator writes the status"},
		{name: "the status, the operator", user: operatorUser, write: writeStatus},
		{name: "a finalizer, its owner", user: "stranger", write: addFinalizer(v1alpha1.Finalizer), want: "only the operator writes the finalizers"},
		{name: "a finalizer, the operator", user: operatorUser, write: addFinalizer(v1alpha1.Finalizer)},
		{
			name: "the finalizer away, its owner", user: "stranger",
			before: hold, write: removeFinalizers, want: "only the operator writes the finalizers",
		},
		{
			name: "the finalizer away, the collector", user: collector,
			before: hold, write: removeFinalizers, want: "only the operator writes the finalizers",
		},
		{name: "the finalizer away, the operator", user: operatorUser, before: hold, write: removeFinalizers},
		{
			name: "a finalizer of the cluster away, the collector", user: collector,
			before: func(s *v1alpha1.Session) { s.Finalizers = []string{"foregroundDeletion"} }, write: removeFinalizers,
		},
		{
			name: "a finalizer, the collector", user: collector,
			write: addFinalizer("example.com/x"), want: "only the operator writes the finalizers",
		},
		{name: "an owner, its owner", user: "stranger", write: addOwner, want: "only the operator writes the owner references"},
		{name: "an owner, the collector", user: collector, write: addOwner, want: "only the operator writes the owner references"},
		{name: "an annotation, its owner", user: "stranger", write: annotate},
		{name: "an annotation on a held one, its owner", user: "stranger", before: hold, write: annotate},
		{name: "the spec, its owner", user: "stranger", write: changeSpec, want: "cannot be changed"},
		{name: "the spec, the operator", user: operatorUser, write: changeSpec, want: "cannot be changed"},
		{name: "the scale, its owner", user: "stranger", write: scale, want: "only the operator writes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			current := &v1alpha1.Session{}
			if err := s.as(t, "").Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "mine"}, current); err != nil {
				t.Fatal(err)
			}
			current.Finalizers = nil
			if test.before != nil {
				test.before(current)
			}
			if err := s.operator(t).Update(t.Context(), current); err != nil {
				t.Fatalf("preparing the session: %v", err)
			}
			var groups []string
			if test.user == root {
				groups = []string{"system:masters"}
			}
			check(t, test.write(t.Context(), s.as(t, test.user, groups...), current), test.want)
		})
	}
}

func hold(s *v1alpha1.Session) { s.Finalizers = []string{v1alpha1.Finalizer} }

func writeStatus(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
	s.Status.Record = &v1alpha1.Record{UID: s.Spec.Target.UID, Replicas: 30}
	return c.Status().Update(ctx, s, client.DryRunAll)
}

func addFinalizer(name string) func(context.Context, client.Client, *v1alpha1.Session) error {
	return func(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
		s.Finalizers = append(s.Finalizers, name)
		return c.Update(ctx, s, client.DryRunAll)
	}
}

func removeFinalizers(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
	s.Finalizers = nil
	return c.Update(ctx, s, client.DryRunAll)
}

func addOwner(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
	s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "1"}}
	return c.Update(ctx, s, client.DryRunAll)
}

func annotate(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
	s.Annotations = map[string]string{"note": "mine"}
	return c.Update(ctx, s, client.DryRunAll)
}

func changeSpec(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
	s.Spec.Target.Name = "billing"
	return c.Update(ctx, s, client.DryRunAll)
}

func scale(ctx context.Context, c client.Client, s *v1alpha1.Session) error {
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":1},"metadata":{"annotations":{}}}`))
	return c.SubResource("scale").Patch(ctx, s, patch, client.DryRunAll)
}
