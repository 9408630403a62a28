package chart

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/cli/restore"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// TestRestoreWithoutAnOperator: the operator is gone, its policies and its gate
// are not. An administrator puts everything back, by the claims, and where one
// was stripped off by the session; what nobody can read is left alone.
func TestRestoreWithoutAnOperator(t *testing.T) {
	s := installed(t)
	defer s.controllers(t, "deployment-controller,replicaset-controller,garbage-collector-controller")()
	ns := s.namespace(t, nil)
	admin := s.as(t, "")
	worker := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
	store, stripped, lost := statefulSet(ns, "store", 2), statefulSet(ns, "stripped", 4), statefulSet(ns, "lost", 1)
	worker.Spec = appsv1.DeploymentSpec{Replicas: ptr.To(int32(3)), Selector: store.Spec.Selector, Template: store.Spec.Template}
	report := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "reports"},
		Spec:       batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: job(ns, "", "").Spec}},
	}
	s.create(t, worker, store, stripped, lost, report)

	hold := func(object client.Object, resource string, replicas int32, zero func(), claimed bool) {
		t.Helper()
		made := session(ns, object.GetName(), "jane")
		made.Spec.Target = v1alpha1.Target{Group: "apps", Resource: resource, Name: object.GetName(), UID: object.GetUID(), Container: "worker"}
		if err := s.as(t, "jane", "system:masters").Create(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		made.Finalizers = []string{v1alpha1.Finalizer}
		check(t, s.operator(t).Update(t.Context(), made), "")
		now := metav1.NowMicro()
		made.Status.HeldAt, made.Status.Record = &now, &v1alpha1.Record{UID: object.GetUID(), Replicas: replicas}
		made.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionHeld, metav1.ConditionTrue)}
		check(t, s.operator(t).Status().Update(t.Context(), made), "")
		// The controllers write to it too.
		check(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
				return err
			}
			if claimed {
				claim := v1alpha1.NewClaim(object.GetUID(), made.UID, made.Name, "jane", replicas, now.Time)
				object.SetAnnotations(map[string]string{v1alpha1.ClaimAnnotation: claim.String()})
			}
			zero()
			return admin.Update(t.Context(), object, client.FieldOwner("understudy-operator"))
		}), "")
	}
	hold(worker, "deployments", 3, func() { worker.Spec.Replicas = ptr.To(int32(0)) }, true)
	hold(store, "statefulsets", 2, func() {
		store.Spec.Replicas = ptr.To(int32(0))
		store.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps"}
		v1alpha1.Marks[0].Put(store.Labels)
	}, true)
	hold(stripped, "statefulsets", 4, func() { stripped.Spec.Replicas = ptr.To(int32(0)) }, false)
	hold(report, "cronjobs", 1, func() { report.Spec.Suspend = ptr.To(true) }, true)
	lost.Annotations = map[string]string{v1alpha1.ClaimAnnotation: "{"}
	lost.Spec.Replicas = ptr.To(int32(0))
	check(t, admin.Update(t.Context(), lost), "")
	s.settle(t, ns)
	argo := s.pausedApplications(t, ns, worker)

	var said []string
	dryRun := false
	run := func(force bool) error {
		said = nil
		return restore.Run(t.Context(), s.config, restore.Options{Namespace: ns, Force: force, DryRun: dryRun, Say: func(format string, args ...any) {
			said = append(said, fmt.Sprintf(format, args...))
		}})
	}
	t.Run("not beside an operator", func(t *testing.T) {
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: releaseNamespace, Name: "understudy-operator"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("pod-1"), LeaseDurationSeconds: ptr.To(int32(30))},
		}
		s.create(t, lease)
		ctx, stop := context.WithCancel(t.Context())
		renewing := make(chan struct{})
		go func() {
			defer close(renewing)
			for ctx.Err() == nil {
				now := metav1.NowMicro()
				lease.Spec.RenewTime = &now
				_ = admin.Update(ctx, lease)
			}
		}()
		check(t, run(false), "an operator runs in namespace "+releaseNamespace)
		stop()
		<-renewing
		check(t, admin.Delete(t.Context(), lease), "")
	})
	t.Run("a dry run", func(t *testing.T) {
		held := []client.Object{worker, store, stripped, report, lost}
		versions := func() (all []string) {
			for _, object := range held {
				check(t, admin.Get(t.Context(), client.ObjectKeyFromObject(object), object), "")
				all = append(all, object.GetName()+" "+object.GetResourceVersion())
			}
			return all
		}
		before := versions()
		dryRun = true
		defer func() { dryRun = false }()
		check(t, run(false), "1 left to a person")
		all := strings.Join(said, "\n")
		for _, want := range []string{
			"deployments " + ns + "/worker would be put back: replicas: 3", "statefulsets " + ns + "/stripped would be put back: replicas: 4",
			"cronjobs " + ns + "/reports would be put back: suspend: false", "session " + ns + "/", " of jane would be ended", "statefulsets " + ns + "/lost is at zero",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("it does not say %q:\n%s", want, all)
			}
		}
		if after := versions(); !slices.Equal(before, after) {
			t.Errorf("before there was %v, afterwards %v", before, after)
		}
	})
	check(t, run(false), "1 left to a person")
	if all := strings.Join(said, "\n"); !strings.Contains(all, "statefulsets "+ns+"/lost is at zero") {
		t.Errorf("it does not say what is left:\n%s", all)
	}
	check(t, admin.Get(t.Context(), client.ObjectKeyFromObject(lost), lost), "")
	if *lost.Spec.Replicas != 0 {
		t.Errorf("a number was guessed: %d", *lost.Spec.Replicas)
	}
	lost.Annotations, lost.Spec.Replicas = nil, ptr.To(int32(1))
	check(t, admin.Update(t.Context(), lost), "")
	check(t, run(false), "")

	for _, object := range []client.Object{worker, store, stripped, report} {
		check(t, admin.Get(t.Context(), client.ObjectKeyFromObject(object), object), "")
		if len(object.GetAnnotations()[v1alpha1.ClaimAnnotation]) > 0 {
			t.Errorf("the claim on %s is still there", object.GetName())
		}
		for _, entry := range object.GetManagedFields() {
			if strings.HasPrefix(entry.Manager, "understudy-") {
				t.Errorf("%s owns something of %s", entry.Manager, object.GetName())
			}
		}
	}
	if *worker.Spec.Replicas != 3 || *store.Spec.Replicas != 2 || *stripped.Spec.Replicas != 4 || *report.Spec.Suspend {
		t.Errorf("put back: %d, %d, %d, suspended %v", *worker.Spec.Replicas, *store.Spec.Replicas, *stripped.Spec.Replicas, *report.Spec.Suspend)
	}
	if _, left := store.Labels[v1alpha1.Marks[0].Key]; left || store.Labels["kustomize.toolkit.fluxcd.io/name"] != "apps" {
		t.Errorf("Flux is kept from it: %v", store.Labels)
	}
	argo(t)
	for _, name := range []string{"worker", "store", "stripped", "reports"} {
		err := admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, &v1alpha1.Session{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("session %s is still there: %v", name, err)
		}
	}
	eventually(t, "the deployment's set is scaled, past the gate", func(ctx context.Context) (bool, error) {
		var sets appsv1.ReplicaSetList
		err := admin.List(ctx, &sets, client.InNamespace(ns))
		return len(sets.Items) == 1 && *sets.Items[0].Spec.Replicas == 3, err
	})
}

// pausedApplications makes three that do not sync by themselves: by the worker's
// session, by that one but with its pause stripped off, and by a session elsewhere
// too. The function that it answers checks what became of them.
func (s *server) pausedApplications(t *testing.T, ns string, worker *appsv1.Deployment) func(*testing.T) {
	t.Helper()
	admin, operator := s.as(t, ""), s.operator(t)
	argo := s.namespace(t, nil)
	s.applications(t, argo)
	first := object(t, `{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: shop}}`)
	first.SetNamespace(argo)
	check(t, admin.Get(t.Context(), client.ObjectKeyFromObject(first), first), "")
	names := []string{"shop", "stripped", "shared"}
	for _, name := range names[1:] {
		again := first.DeepCopy()
		again.SetName(name)
		again.SetResourceVersion("")
		again.SetManagedFields(nil)
		again.SetUID("")
		s.create(t, again)
	}
	made := &v1alpha1.Session{}
	check(t, admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: worker.Name}, made), "")
	elsewhere := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "bob", UID: "b-1"}}
	read := func(name string) *unstructured.Unstructured {
		a := first.DeepCopy()
		check(t, admin.Get(t.Context(), client.ObjectKey{Namespace: argo, Name: name}, a), "")
		return a
	}
	for _, name := range names {
		a := read(name)
		made.Status.Record.Applications = append(made.Status.Record.Applications, v1alpha1.Application{Namespace: argo, Name: name, UID: a.GetUID()})
		annotations := a.GetAnnotations()
		if p := v1alpha1.NewPause(a.GetUID(), made, "", made.CreationTimestamp.Time); name != "stripped" {
			annotations[p.Key()] = p.String()
		}
		if p := v1alpha1.NewPause(a.GetUID(), elsewhere, "", made.CreationTimestamp.Time); name == "shared" {
			annotations[p.Key()] = p.String()
		}
		a.SetAnnotations(annotations)
		check(t, v1alpha1.SetSyncs(a.Object, "false"), "")
		check(t, admin.Update(t.Context(), a, client.FieldOwner("understudy-operator")), "")
	}
	check(t, operator.Status().Update(t.Context(), made), "")
	return func(t *testing.T) {
		for _, name := range names {
			a := read(name)
			_, automated := v1alpha1.Syncs(a.Object)
			pauses, _ := v1alpha1.Pauses(a.GetAnnotations(), a.GetUID())
			wanted := name == "shared"
			if automated == wanted || (len(pauses) == 1) != wanted {
				t.Errorf("application %s syncs by itself: %v, and is paused by %+v", name, automated, pauses)
			}
		}
	}
}
