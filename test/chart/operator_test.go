package chart

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// TestWhatTheOperatorMayMake makes, with the operator's account and its RBAC
// alone, what a session needs, and what it must not.
func TestWhatTheOperatorMayMake(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	mine := s.own(t, ns, "s", "jane")
	role := func(change func(*rbacv1.Role)) client.Object {
		r := &rbacv1.Role{ObjectMeta: ofSession(ns, "understudy-s", mine), Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"s"}, Verbs: []string{"get", "update", "patch"}},
			{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, ResourceNames: []string{"s-standin-1"}, Verbs: []string{"get", "create"}},
		}}
		if change != nil {
			change(r)
		}
		return r
	}
	binding := func(change func(*rbacv1.RoleBinding)) client.Object {
		b := &rbacv1.RoleBinding{
			ObjectMeta: ofSession(ns, "understudy-s", mine),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "understudy-s"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "jane"}},
		}
		if change != nil {
			change(b)
		}
		return b
	}
	secret := func(change func(*corev1.Secret)) client.Object {
		made := &corev1.Secret{ObjectMeta: ofSession(ns, "s-agent-1", mine)}
		if change != nil {
			change(made)
		}
		return made
	}
	// The Role must be there for the operator to be allowed to bind it.
	if err := s.operator(t).Create(t.Context(), role(nil)); err != nil {
		t.Fatalf("creating the session's Role: %v", err)
	}
	s.create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "harmless"}})

	const (
		named   = "bears the label understudy.dev/session and is named for that session"
		control = "only pods and secrets that a session controls"
		grant   = "only the session's Lease and port-forwarding"
		bind    = "only the Role of the same name, to one user"
	)
	for _, test := range []struct {
		name   string
		object client.Object
		want   string
	}{
		{name: "the stand-in", object: pod(ns, "s-standin-1", mine)},
		{name: "a pod of no session", object: pod(ns, "s-standin-1", nil), want: named},
		{name: "a pod of another name", object: pod(ns, "worker-1", mine), want: named},
		{name: "a pod that the session does not control", object: func() client.Object {
			p := pod(ns, "s-standin-1", mine)
			p.OwnerReferences[0].Controller = nil
			return p
		}(), want: control},
		{name: "a pod that something else controls", object: func() client.Object {
			p := pod(ns, "s-standin-1", mine)
			p.OwnerReferences[0].Kind, p.OwnerReferences[0].APIVersion = "ReplicaSet", "apps/v1"
			return p
		}(), want: control},
		{name: "the agent's secret", object: secret(nil)},
		{name: "a secret of another name", object: secret(func(s *corev1.Secret) { s.Name = "registry" }), want: named},
		{name: "a secret without a label", object: secret(func(s *corev1.Secret) { s.Labels = nil }), want: named},
		{name: "a secret without an owner", object: secret(func(s *corev1.Secret) { s.OwnerReferences = nil }), want: control},
		{name: "a secret that asks for a service account's token", object: secret(func(s *corev1.Secret) {
			s.Type = corev1.SecretTypeServiceAccountToken
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
		}), want: "only secrets of type Opaque"},
		{name: "the session's lease", object: &coordinationv1.Lease{ObjectMeta: ofSession(ns, "s", mine)}},
		{name: "another lease", object: &coordinationv1.Lease{ObjectMeta: ofSession(ns, "kube-scheduler", mine)}, want: named},
		{name: "a lease in another namespace", object: &coordinationv1.Lease{ObjectMeta: ofSession("kube-system", "kube-scheduler", nil)}, want: named},
		{name: "the lease of leader election", object: &coordinationv1.Lease{ObjectMeta: ofSession(releaseNamespace, "understudy-operator", nil)}},
		{name: "a lease of that name elsewhere", object: &coordinationv1.Lease{ObjectMeta: ofSession(ns, "understudy-operator", nil)}, want: named},
		{name: "a role of another name", object: role(func(r *rbacv1.Role) { r.Name = "reader" }), want: named},
		{name: "a role of another session", object: role(func(r *rbacv1.Role) { r.Name = "understudy-other" }), want: named},
		{name: "a role on every lease", object: role(func(r *rbacv1.Role) { r.Rules[0].ResourceNames = nil }), want: grant},
		{name: "a role on another lease", object: role(func(r *rbacv1.Role) { r.Rules[0].ResourceNames = []string{"other"} }), want: grant},
		{name: "a role to delete the lease", object: role(func(r *rbacv1.Role) { r.Rules[0].Verbs = []string{"delete"} }), want: grant},
		{name: "a role on another pod", object: role(func(r *rbacv1.Role) { r.Rules[1].ResourceNames = []string{"worker-1"} }), want: grant},
		{name: "a role on pods", object: role(func(r *rbacv1.Role) { r.Rules[1].Resources = []string{"pods"} }), want: grant},
		{name: "the session's binding", object: binding(nil)},
		{name: "a binding to a group", object: binding(func(b *rbacv1.RoleBinding) {
			b.Subjects[0].Kind, b.Subjects[0].Name = "Group", "system:authenticated"
		}), want: bind},
		{name: "a binding to two users", object: binding(func(b *rbacv1.RoleBinding) {
			b.Subjects = append(b.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "joan"})
		}), want: bind},
		{name: "a binding of another role", object: binding(func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "harmless" }), want: bind},
		{name: "a binding of a cluster role", object: binding(func(b *rbacv1.RoleBinding) {
			b.RoleRef.Kind, b.RoleRef.Name = "ClusterRole", "cluster-admin"
		}), want: "forbidden"},
		{name: "a session", object: session(ns, "other", operatorUser), want: "forbidden"},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, s.operator(t).Create(t.Context(), test.object, client.DryRunAll), test.want)
		})
	}

	t.Run("two more ways", func(t *testing.T) {
		apply := role(nil)
		apply.GetObjectKind().SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("Role"))
		r := apply.(*rbacv1.Role)
		r.Rules[1].ResourceNames = []string{"s-standin-2"}
		patch := client.MergeFrom(role(nil))
		check(t, s.operator(t).Patch(t.Context(), r, patch, client.DryRunAll), "")
		r.Rules[1].ResourceNames = []string{"worker-1"}
		check(t, s.operator(t).Patch(t.Context(), r, patch, client.DryRunAll), grant)
	})
}

func TestWhatTheOperatorMayDelete(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	mine := s.own(t, ns, "s", "jane")
	s.create(t,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}},
		pod(ns, "s-standin-1", mine), pod(ns, "worker-1", nil),
		&corev1.Secret{ObjectMeta: ofSession(ns, "s-agent-1", mine)}, &corev1.Secret{ObjectMeta: ofSession(ns, "registry", nil)},
		&rbacv1.Role{ObjectMeta: ofSession(ns, "understudy-s", mine)}, &rbacv1.Role{ObjectMeta: ofSession(ns, "reader", nil)},
		replicaSet(ns, "worker-5d4f7", "worker", "", 0),
	)
	const named = "bears the label understudy.dev/session"
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
	for _, test := range []struct {
		name   string
		object client.Object
		want   string
	}{
		{name: "the stand-in", object: &corev1.Pod{ObjectMeta: at("s-standin-1")}},
		{name: "another pod", object: &corev1.Pod{ObjectMeta: at("worker-1")}, want: named},
		{name: "the agent's secret", object: &corev1.Secret{ObjectMeta: at("s-agent-1")}},
		{name: "another secret", object: &corev1.Secret{ObjectMeta: at("registry")}, want: named},
		{name: "the session's role", object: &rbacv1.Role{ObjectMeta: at("understudy-s")}},
		{name: "another role", object: &rbacv1.Role{ObjectMeta: at("reader")}, want: named},
		{name: "a workload", object: &appsv1.ReplicaSet{ObjectMeta: at("worker-5d4f7")}, want: "forbidden"},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, s.operator(t).Delete(t.Context(), test.object, client.DryRunAll), test.want)
		})
	}
}

func TestTheOperatorCannotUseWhatItGrants(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	mine := s.own(t, ns, "s", "jane")
	s.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}}, pod(ns, "s-standin-1", mine))
	forward := func(user string, groups ...string) error {
		config := rest.CopyConfig(s.config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		cluster, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return cluster.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name("s-standin-1").
			SubResource("portforward").Param("ports", "7447").Do(t.Context()).Error()
	}
	check(t, forward(operatorUser), "has pods/portforward only to grant it")
	// Whoever it is granted to gets as far as there being no node here.
	check(t, forward("jane", "system:masters"), "does not have a host assigned")
}

func TestWhatTheOperatorMayChangeOfAWorkload(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	three := int32(3)
	labels := map[string]string{"app": "worker"}
	s.create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: "worker", Labels: map[string]string{"app": "worker", "helm.sh/chart": "worker-1"},
			Annotations: map[string]string{"team": "a", "meta.helm.sh/release-name": "worker"},
		},
		Spec: appsv1.DeploymentSpec{
			Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "worker"}}},
			},
		},
	}, replicaSet(ns, "worker-5d4f7", "worker", "5ad", 3), replicaSet(ns, "worker-6d4f7", "worker", "", 0),
		statefulSet(ns, "store", 3), job(ns, "report", ""))

	const (
		deployment = "deployment"
		set        = "set"
		bare       = "bare"
		stateful   = "stateful"
		batch      = "batch"
		metadata   = "no finalizer and no owner of a workload, and no annotation"
		spec       = "nothing of a workload's spec but its replicas"
	)
	for _, test := range []struct {
		name, object, patch, want string
	}{
		{name: "claim", object: deployment, patch: `{"metadata":{"annotations":{"understudy.dev/claim":"{}"}}}`},
		{name: "hold", object: deployment, patch: `{"spec":{"replicas":0}}`},
		{name: "restore", object: deployment, patch: `{"metadata":{"annotations":{"understudy.dev/claim":null}},"spec":{"replicas":3}}`},
		// As others' admission may do to what the operator writes: nothing goes by these.
		{name: "an annotation that is nobody's", object: deployment, patch: `{"metadata":{"annotations":{"team":"b"}}}`},
		{name: "a label that is nobody's", object: deployment, patch: `{"metadata":{"labels":{"team":"b"}}}`},
		{name: "the history", object: deployment, patch: `{"spec":{"revisionHistoryLimit":1}}`},
		{name: "an annotation of a controller's", object: deployment, patch: `{"metadata":{"annotations":{"autoscaling.keda.sh/paused-replicas":"0"}}}`, want: metadata},
		{name: "no annotation", object: deployment, patch: `{"metadata":{"annotations":null}}`, want: metadata},
		{name: "no label", object: deployment, patch: `{"metadata":{"labels":null}}`, want: "no label of a workload by which"},
		{name: "a label of a controller's", object: deployment, patch: `{"metadata":{"labels":{"app.kubernetes.io/instance":"x"}}}`, want: "no label of a workload by which"},
		{name: "a finalizer", object: deployment, patch: `{"metadata":{"finalizers":["example.com/x"]}}`, want: metadata},
		{
			name: "an owner", object: deployment, want: metadata,
			patch: `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"1"}]}}`,
		},
		{
			name: "the pods", object: deployment, want: spec,
			patch: `{"spec":{"template":{"spec":{"serviceAccountName":"admin"}}}}`,
		},
		{name: "the strategy", object: deployment, patch: `{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`, want: spec},
		{name: "a pause", object: deployment, patch: `{"spec":{"paused":true}}`, want: spec},
		{name: "a set's copy of the claim", object: set, patch: `{"metadata":{"annotations":{"understudy.dev/claim":null,"understudy.dev/nudge":"1"}}}`},
		{name: "a set's other annotation", object: set, patch: `{"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"9"}}}`, want: metadata},
		{name: "a set's number", object: set, patch: `{"spec":{"replicas":9}}`, want: "may not scale replica sets"},
		{name: "a bare set's number", object: bare, patch: `{"spec":{"replicas":9}}`},
		{name: "a stateful set's number", object: stateful, patch: `{"metadata":{"annotations":{"understudy.dev/claim":"{}"}},"spec":{"replicas":0}}`},
		{name: "a stateful set's retention", object: stateful, patch: `{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete"}}}`, want: spec},
		{name: "a stateful set's ordinals", object: stateful, patch: `{"spec":{"ordinals":{"start":7}}}`, want: spec},
		{name: "a job's suspension", object: batch, patch: `{"metadata":{"annotations":{"understudy.dev/claim":"{}"}},"spec":{"suspend":true}}`},
		{name: "a job's parallelism", object: batch, patch: `{"spec":{"parallelism":7}}`, want: spec},
		{name: "a set's pods", object: set, patch: `{"spec":{"template":{"spec":{"serviceAccountName":"admin"}}}}`, want: spec},
	} {
		t.Run(test.name, func(t *testing.T) {
			var object client.Object = &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
			switch test.object {
			case set:
				object = &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker-5d4f7"}}
			case bare:
				object = &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker-6d4f7"}}
			case stateful:
				object = &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "store"}}
			case batch:
				object = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "report"}}
			}
			patch := client.RawPatch(types.MergePatchType, []byte(test.patch))
			check(t, s.operator(t).Patch(t.Context(), object, patch, client.DryRunAll), test.want)
		})
	}

	t.Run("field ownership, by an update", func(t *testing.T) {
		current := &appsv1.Deployment{}
		check(t, s.operator(t).Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "worker"}, current), "")
		current.ManagedFields = append(current.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: "team", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "apps/v1", FieldsType: "FieldsV1",
			FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:replicas":{}}}`)},
		})
		check(t, s.operator(t).Update(t.Context(), current, client.DryRunAll), "")
	})
	t.Run("through the scale", func(t *testing.T) {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":9}}`))
		object := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
		check(t, s.operator(t).SubResource("scale").Patch(t.Context(), object, patch, client.DryRunAll), "forbidden")
	})
}

// TestTheOperatorsLimitsAreTheOperatorsAlone: a policy that matched too much
// would stop a cluster.
func TestTheOperatorsLimitsAreTheOperatorsAlone(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	everything := rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}
	s.allow(t, ns, "jane", everything)
	jane := s.as(t, "jane")
	for name, do := range map[string]func(context.Context) error{
		"a secret": func(ctx context.Context) error {
			return jane.Create(ctx, &corev1.Secret{ObjectMeta: ofSession(ns, "registry", nil)}, client.DryRunAll)
		},
		"a role": func(ctx context.Context) error {
			return jane.Create(ctx, &rbacv1.Role{ObjectMeta: ofSession(ns, "reader", nil)}, client.DryRunAll)
		},
		"a lease": func(ctx context.Context) error {
			return jane.Create(ctx, &coordinationv1.Lease{ObjectMeta: ofSession(ns, "leader", nil)}, client.DryRunAll)
		},
		"a set": func(ctx context.Context) error {
			return jane.Create(ctx, replicaSet(ns, "worker-5d4f7", "worker", "", 3), client.DryRunAll)
		},
		"a session": func(ctx context.Context) error {
			return jane.Create(ctx, session(ns, "s", "jane"), client.DryRunAll)
		},
	} {
		check(t, do(t.Context()), "")
		if t.Failed() {
			t.Fatalf("making %s", name)
		}
	}
	check(t, jane.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "s"}, &v1alpha1.Session{}), "not found")
}
