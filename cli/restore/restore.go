package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

const (
	// operatorName is what the chart calls the operator, its rights and its lease.
	operatorName = "understudy-operator"
	// fieldManager is the name that is written under; it is taken away again.
	fieldManager = ownership.RestoreManager
	// endFor is how long a stand-in is waited for at least, and endMargin how long
	// beyond its session's lease: its agent closes by itself when it has heard from
	// nobody for so long.
	endFor    = time.Minute
	endMargin = 15 * time.Second
	// requests are how many there are in a second at most.
	requests = 50
	// tries bounds how often one write is made anew because somebody else wrote.
	tries = 10
	// lookEvery is how often something is looked at that is waited for, and sayEvery
	// how often that is said.
	lookEvery = 200 * time.Millisecond
	sayEvery  = 10 * time.Second
)

// Options say what is put back.
type Options struct {
	// Namespace to look in; empty is all of them.
	Namespace string
	// Force goes on though an operator runs.
	Force bool
	// DryRun says what would be done, and does none of it.
	DryRun bool
	// Say is told each thing that was done, or is left to be done by a person.
	Say func(format string, args ...any)
}

// restorer works for one run.
type restorer struct {
	Options
	objects   dynamic.Interface
	kube      kubernetes.Interface
	discovery discovery.DiscoveryInterface
	// operator writes as the operator's own account, which the policies ask for
	// when it comes to Sessions; the same as objects where there is none.
	operator dynamic.Interface
	sessions []v1alpha1.Session
	left     int
	// back is what was written to, and is to be followed by its ReplicaSets.
	back []*follower
}

// Run puts back what is held. The error says what could not be done.
func Run(ctx context.Context, config *rest.Config, options Options) error {
	r := &restorer{Options: options}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = requests, requests
	var err error
	if r.kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if r.objects, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	r.discovery = r.kube.Discovery()
	if err := r.namespaceThere(ctx); err != nil {
		return err
	}
	if options.DryRun {
		return r.rehearse(ctx)
	}
	if err := r.findOperator(ctx, config); err != nil {
		return err
	}
	if err := r.readSessions(ctx); err != nil {
		return err
	}
	for i := range r.sessions {
		if err := r.release(ctx, &r.sessions[i]); err != nil {
			return err
		}
	}
	// Each was asked to end above: they go beside each other.
	asked := time.Now()
	for i := range r.sessions {
		if err := r.awaitStandIn(ctx, &r.sessions[i], asked); err != nil {
			return err
		}
	}
	if err := r.putBack(ctx); err != nil {
		if unseen := r.follow(ctx); unseen != nil {
			r.Say("%s", unseen)
		}
		return err
	}
	// Last of all: nothing else waits for it.
	return r.follow(ctx)
}

// putBack puts back what is held, and lets the sessions go.
func (r *restorer) putBack(ctx context.Context) error {
	if err := r.workloads(ctx); err != nil {
		return err
	}
	if err := r.applications(ctx); err != nil {
		return err
	}
	if err := r.leftOver(); err != nil {
		return err
	}
	for i := range r.sessions {
		if err := r.dismiss(ctx, &r.sessions[i]); err != nil {
			return err
		}
	}
	return nil
}

// namespaceThere fails for a namespace that there is not: nothing is held in it,
// and whoever misspelt another's name must not be told so. Who may not read
// namespaces is believed.
func (r *restorer) namespaceThere(ctx context.Context) error {
	if r.Namespace == "" {
		return nil
	}
	_, err := r.kube.CoreV1().Namespaces().Get(ctx, r.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failure.New("choose another with -n, or all of them with -A; there are those that this lists: kubectl get namespaces", "there is no namespace %s", r.Namespace)
	case err != nil && !apierrors.IsForbidden(err):
		return fmt.Errorf("looking for namespace %s: %w", r.Namespace, err)
	}
	return nil
}

// rehearse says what would be done. It looks and does not write, so that it may
// be done beside an operator too.
func (r *restorer) rehearse(ctx context.Context) error {
	if err := r.readSessions(ctx); err != nil {
		return err
	}
	if err := r.workloads(ctx); err != nil {
		return err
	}
	if err := r.applications(ctx); err != nil {
		return err
	}
	for i := range r.sessions {
		r.Say("session %s/%s of %s would be ended", r.sessions[i].Namespace, r.sessions[i].Name, r.sessions[i].Spec.Owner.Username)
	}
	return r.leftOver()
}

// leftOver fails where something is left to a person.
func (r *restorer) leftOver() error {
	if r.left == 0 {
		return nil
	}
	return failure.New("each is named above; set its number by hand, take the annotation off, and run this again", "%d left to a person", r.left)
}

// findOperator finds the operator's account, and fails when it is at work: it
// would bring to zero again what is put back here.
func (r *restorer) findOperator(ctx context.Context, config *rest.Config) error {
	r.operator = r.objects
	binding, err := r.kube.RbacV1().ClusterRoleBindings().Get(ctx, operatorName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the operator's account: %w", err)
	}
	if len(binding.Subjects) == 0 {
		return nil
	}
	account := binding.Subjects[0]
	alive, err := r.leads(ctx, account.Namespace)
	if err != nil {
		return err
	}
	if alive && !r.Force {
		return failure.New("to end a session there is: understudy end SESSION. To go on all the same: --force", "an operator runs in namespace %s: it puts workloads back by itself", account.Namespace)
	}
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + account.Namespace + ":" + account.Name,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + account.Namespace, "system:authenticated"},
	}
	if r.operator, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return nil
}

// leads says whether an operator is at work: it renews its lease, or is ready and
// needs none. That is looked at and not reckoned, because this machine's clock may
// be wrong.
func (r *restorer) leads(ctx context.Context, namespace string) (bool, error) {
	read := func() (*coordinationv1.Lease, error) {
		lease, err := r.kube.CoordinationV1().Leases(namespace).Get(ctx, operatorName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return &coordinationv1.Lease{}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("looking for the operator's lease: %w", err)
		}
		return lease, nil
	}
	first, err := read()
	if err != nil {
		return false, err
	}
	if holder := first.Spec.HolderIdentity; holder == nil || *holder == "" {
		return r.ready(ctx, namespace, false)
	}
	wait := 10 * time.Second
	if s := first.Spec.LeaseDurationSeconds; s != nil {
		wait = time.Duration(*s) * time.Second
	}
	r.Say("looking whether an operator is at work")
	alive := false
	err = until(ctx, wait, func() (bool, error) {
		lease, err := read()
		if err != nil {
			return false, err
		}
		alive = lease.ResourceVersion != first.ResourceVersion
		return alive, nil
	})
	if err != nil || alive {
		return alive, err
	}
	// The lease may be of an operator that agreed by it, before one that does not.
	return r.ready(ctx, namespace, true)
}

// ready says whether a pod of the operator's Deployment is ready. Where there is a
// lease that goes for one that was told to do without it (operator.leaderElection),
// and no other: it may be ready and not come to renew it.
func (r *restorer) ready(ctx context.Context, namespace string, lease bool) (bool, error) {
	operator, err := r.kube.AppsV1().Deployments(namespace).Get(ctx, operatorName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the operator: %w", err)
	}
	needsNone := slices.ContainsFunc(operator.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		return slices.Contains(c.Args, "--leader-elect=false")
	})
	return operator.Status.ReadyReplicas > 0 && (needsNone || !lease), nil
}

// until looks again and again until it is so, or the time is over.
func until(ctx context.Context, most time.Duration, so func() (bool, error)) error {
	over := time.After(most)
	for {
		if done, err := so(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-time.After(lookEvery):
		}
	}
}

func (r *restorer) readSessions(ctx context.Context) error {
	list, err := r.objects.Resource(v1alpha1.Resource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil // the resource itself is gone; the claims are not
	}
	if err != nil {
		return fmt.Errorf("listing the sessions: %w", err)
	}
	for i := range list.Items {
		var session v1alpha1.Session
		if err := into(&list.Items[i], &session); err != nil {
			return fmt.Errorf("reading session %s/%s: %w", list.Items[i].GetNamespace(), list.Items[i].GetName(), err)
		}
		r.sessions = append(r.sessions, session)
	}
	return nil
}

// release says in a Session that nothing is held by it, and asks its stand-in to end.
func (r *restorer) release(ctx context.Context, session *v1alpha1.Session) error {
	sessions := r.operator.Resource(v1alpha1.Resource).Namespace(session.Namespace)
	err := r.patiently(ctx, func() error {
		object, err := sessions.Get(ctx, session.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		held := false
		for _, c := range conditions {
			if condition := c.(map[string]any); condition["type"] == v1alpha1.ConditionHeld && condition["status"] == string(metav1.ConditionTrue) {
				condition["status"], condition["reason"] = string(metav1.ConditionFalse), v1alpha1.ReasonRestoring
				held = true
			}
		}
		if !held {
			return nil
		}
		if err := unstructured.SetNestedSlice(object.Object, conditions, "status", "conditions"); err != nil {
			return err
		}
		_, err = sessions.UpdateStatus(ctx, object, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return fmt.Errorf("releasing session %s/%s: %w", session.Namespace, session.Name, err)
	}
	_, err = r.endStandIns(ctx, session)
	return err
}

// endStandIns asks the pods of a session to end that have not been asked, and names
// one that is there; none where they are gone.
func (r *restorer) endStandIns(ctx context.Context, session *v1alpha1.Session) (left string, err error) {
	pods := r.kube.CoreV1().Pods(session.Namespace)
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.SessionLabel + "=" + session.Name})
	if err != nil {
		return "", fmt.Errorf("listing the stand-ins of session %s/%s: %w", session.Namespace, session.Name, err)
	}
	for i := range list.Items {
		pod := &list.Items[i]
		owner := metav1.GetControllerOf(pod)
		if owner == nil || owner.UID != session.UID {
			continue
		}
		left = pod.Name
		if pod.DeletionTimestamp.IsZero() {
			if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return left, fmt.Errorf("ending the stand-in %s/%s: %w", pod.Namespace, pod.Name, err)
			}
		}
	}
	return left, nil
}

// awaitStandIn waits until a session's stand-in is gone, which was asked to end at
// that time, or until it must have closed by itself.
func (r *restorer) awaitStandIn(ctx context.Context, session *v1alpha1.Session, asked time.Time) error {
	left, most, said := "", endIn(session), asked
	err := until(ctx, most-time.Since(asked), func() (done bool, err error) {
		if left, err = r.endStandIns(ctx, session); err != nil || left == "" {
			return err == nil, err
		}
		if time.Since(said) >= sayEvery {
			r.Say("waiting for the stand-in %s/%s to end: %s of at most %s", session.Namespace, left, time.Since(asked).Round(time.Second), most)
			said = time.Now()
		}
		return false, nil
	})
	if err == nil && left != "" {
		r.Say("the stand-in %s/%s was not seen to end in %s; its agent has closed by itself", session.Namespace, left, most)
	}
	return err
}

// endIn is how long a session's stand-in is waited for.
func endIn(session *v1alpha1.Session) time.Duration {
	lease := v1alpha1.DefaultLeaseDuration
	if s := session.Spec.LeaseDurationSeconds; s > 0 {
		lease = time.Duration(s) * time.Second
	}
	return max(endFor, lease+endMargin)
}

// dismiss lets a Session go, and with it what was made for it.
func (r *restorer) dismiss(ctx context.Context, session *v1alpha1.Session) error {
	sessions := r.operator.Resource(v1alpha1.Resource).Namespace(session.Namespace)
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	uid := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(session.UID))}
	if err := sessions.Delete(ctx, session.Name, uid); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("ending session %s/%s: %w", session.Namespace, session.Name, err)
	}
	if _, err := sessions.Patch(ctx, session.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("letting session %s/%s go: %w", session.Namespace, session.Name, err)
	}
	r.Say("session %s/%s of %s is ended", session.Namespace, session.Name, session.Spec.Owner.Username)
	return nil
}

// patiently tries a write anew on a fresh read as long as somebody else writes.
func (r *restorer) patiently(ctx context.Context, do func() error) error {
	err := do()
	for try := 1; try < tries && apierrors.IsConflict(err) && ctx.Err() == nil; try++ {
		err = do()
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// workloads puts back every object that bears a claim, and those that a Session
// remembers as held though they bear none.
func (r *restorer) workloads(ctx context.Context) error {
	resources, err := r.resources()
	if err != nil {
		return err
	}
	var failures []error
	for _, resource := range resources {
		objects := r.objects.Resource(resource)
		options := metav1.ListOptions{Limit: 500}
		for {
			list, err := objects.Namespace(r.Namespace).List(ctx, options)
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				break
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("listing %s: %w", resource.GroupResource(), err))
				break
			}
			for i := range list.Items {
				if err := r.workload(ctx, resource, &list.Items[i]); err != nil {
					failures = append(failures, err)
				}
			}
			if options.Continue = list.GetContinue(); options.Continue == "" {
				break
			}
		}
	}
	return errors.Join(failures...)
}

// resources are those that may bear a claim: Kubernetes' own workloads, every
// resource with a scale subresource, and last of all what scales them.
func (r *restorer) resources() ([]schema.GroupVersionResource, error) {
	found := []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "statefulsets"},
		{Group: "apps", Version: "v1", Resource: "replicasets"},
		{Group: "batch", Version: "v1", Resource: "jobs"}, {Group: "batch", Version: "v1", Resource: "cronjobs"},
	}
	lists, err := r.discovery.ServerPreferredResources()
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("asking the API server for its resources: %w", err)
	}
	var keda []schema.GroupVersionResource
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || version.Group == v1alpha1.GroupVersion.Group || version.Group == "apps" {
			continue
		}
		all, err := r.discovery.ServerResourcesForGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range all.APIResources {
			name, sub, _ := strings.Cut(resource.Name, "/")
			switch {
			case version.Group == "keda.sh" && (name == "scaledobjects" || name == "scaledjobs") && sub == "":
				keda = append(keda, version.WithResource(name))
			case sub == "scale" && resource.Namespaced:
				found = append(found, version.WithResource(name))
			}
		}
	}
	return append(found, keda...), nil
}

func restored(session *v1alpha1.Session) bool {
	return meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionRestored)
}
