package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold"
)

func TestMain(m *testing.M) { os.Exit(apitest.Main(m)) }

const (
	testPolicy = "understudy-sessions"
	testNode   = "node-1"
	// clientKey is an Ed25519 public key, PKIX DER, in base64.
	clientKey = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
)

// world is a namespace of a real API server, in which the test plays the
// deployment controller, the scheduler and the kubelet, one move at a time.
type world struct {
	t   *testing.T
	ctx context.Context
	client.WithWatch
	config    *rest.Config
	namespace string
	// clock is the operator's own; it moves when the test says so.
	clock time.Time
	// deaf pods do not end when they are deleted.
	deaf map[string]bool
	// noStart keeps the kubelet from starting stand-ins.
	noStart bool
	// gate keeps ReplicaSets at zero while a session is held, as the chart's
	// mutating policy does.
	gate bool
	// late is a gate that has not heard yet of the session's end.
	late bool
	// labels of the team's deployments, as their GitOps tool puts them on.
	labels map[string]string
	// custom resources that the operator is told of.
	custom []schema.GroupResource
	// node that the pods run on.
	node string
	// ran are the old pods that the kubelet started.
	ran map[string]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldAt(t, apitest.Config(t))
}

func worldAt(t *testing.T, config *rest.Config) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), metav1.AddMetaToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, config: config, ctx: t.Context(), WithWatch: c, clock: time.Now(), deaf: map[string]bool{}, ran: map[string]bool{}, node: testNode}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "session-"}}
	w.must(w.Create(w.ctx, namespace))
	w.namespace = namespace.Name
	w.readyNode(testNode)
	w.installPolicy()
	return w
}

func (w *world) installPolicy() {
	w.ensure(&admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: testPolicy},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{"understudy.dev"}, APIVersions: []string{"*"}, Resources: []string{"sessions"}},
			}}}},
			Validations: []admissionv1.Validation{{Expression: "true"}},
		},
	})
	w.ensure(&admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: testPolicy},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: testPolicy, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ensure(object client.Object) {
	w.t.Helper()
	if err := w.Create(w.ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

// readyNode is the node that all tests share, made by whoever comes first.
func (w *world) readyNode(name string) {
	w.t.Helper()
	w.ensure(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	node := &corev1.Node{}
	w.must(w.Get(w.ctx, client.ObjectKey{Name: name}, node))
	if len(node.Status.Conditions) > 0 {
		return
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := w.Status().Update(w.ctx, node); err != nil && !apierrors.IsConflict(err) {
		w.t.Fatal(err)
	}
}

// team applies the workload as a team's pipeline does, by server-side apply.
func (w *world) team(name string, replicas int32) error {
	d := deployment(w.namespace, name)
	d.Spec.Replicas, d.Labels = ptr.To(replicas), w.labels
	return w.apply(d, "team")
}

func (w *world) apply(object client.Object, manager string, options ...client.PatchOption) error {
	data, err := json.Marshal(object)
	w.must(err)
	return w.Patch(w.ctx, object, client.RawPatch("application/apply-patch+yaml", data), append(options, client.FieldOwner(manager))...)
}

func deployment(namespace, name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: ptr.To(int64(30)),
					Containers:                    []corev1.Container{{Name: "worker", Image: "registry.example/worker:1"}},
				},
			},
		},
	}
}

// deploy makes a workload and plays until its pods run.
func (w *world) deploy(name string, replicas int32) {
	w.t.Helper()
	w.must(w.team(name, replicas))
	w.until("the pods of "+name+" run", func() bool {
		w.play()
		return w.running(name) == int(replicas) && w.deployment(name).Status.ObservedGeneration == w.deployment(name).Generation
	})
}

func (w *world) deployment(name string) *appsv1.Deployment {
	w.t.Helper()
	d := &appsv1.Deployment{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, d))
	return d
}

// until moves on until it holds, at most 300 times.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for range 300 {
		if holds() {
			return
		}
	}
	w.dump()
	w.t.Fatalf("never happened: %s", what)
}

func (w *world) dump() {
	w.t.Helper()
	var sessions v1alpha1.SessionList
	var pods corev1.PodList
	var deployments appsv1.DeploymentList
	w.must(errors.Join(w.List(w.ctx, &sessions, client.InNamespace(w.namespace)), w.List(w.ctx, &pods, client.InNamespace(w.namespace)), w.List(w.ctx, &deployments, client.InNamespace(w.namespace))))
	for _, s := range sessions.Items {
		status, _ := json.MarshalIndent(s.Status, "  ", " ")
		w.t.Logf("session %s, deleted %v, finalizers %v: %s", s.Name, s.DeletionTimestamp, s.Finalizers, status)
	}
	for _, p := range pods.Items {
		w.t.Logf("pod %s on %q, deleted %v, phase %s, containers %v", p.Name, p.Spec.NodeName, p.DeletionTimestamp, p.Status.Phase, p.Status.ContainerStatuses)
	}
	for _, d := range deployments.Items {
		w.t.Logf("deployment %s: replicas %d, annotations %v, status %+v", d.Name, *d.Spec.Replicas, d.Annotations, d.Status)
	}
}

// play makes one move of each of the cluster's own parts.
func (w *world) play() {
	w.t.Helper()
	var deployments appsv1.DeploymentList
	w.must(w.List(w.ctx, &deployments, client.InNamespace(w.namespace)))
	for i := range deployments.Items {
		w.playDeployment(&deployments.Items[i])
	}
	w.playKubelet()
}

func (w *world) playDeployment(d *appsv1.Deployment) {
	w.t.Helper()
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
		Namespace: d.Namespace, Name: d.Name + "-1", Labels: d.Spec.Template.Labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
	}, Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(0)), Selector: d.Spec.Selector, Template: d.Spec.Template}}
	if err := w.Get(w.ctx, client.ObjectKeyFromObject(set), set); apierrors.IsNotFound(err) {
		w.must(w.Create(w.ctx, set))
	} else if !metav1.IsControlledBy(set, d) {
		// Of a deployment of the same name that was deleted.
		w.must(w.Delete(w.ctx, set))
		return
	}
	// The real controller copies nearly every annotation, and never takes one
	// away.
	wished := *d.Spec.Replicas
	if w.late || w.gate && w.anyHeld(d) {
		wished = 0
	}
	before := set.DeepCopy()
	for key, value := range d.Annotations {
		metav1.SetMetaDataAnnotation(&set.ObjectMeta, key, value)
	}
	set.Spec.Replicas = &wished
	if data, _ := client.MergeFrom(before).Data(set); string(data) != "{}" {
		w.must(w.Patch(w.ctx, set, client.MergeFrom(before), client.FieldOwner("kube-controller-manager")))
	}
	active := w.playReplicaSet(set)
	status := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: active, UpdatedReplicas: active}
	if d.Status.ObservedGeneration != status.ObservedGeneration || d.Status.Replicas != active {
		d.Status = status
		err := w.Status().Update(w.ctx, d, client.FieldOwner("kube-controller-manager"))
		if err != nil && !apierrors.IsConflict(err) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) anyHeld(d *appsv1.Deployment) bool {
	var sessions v1alpha1.SessionList
	w.must(w.List(w.ctx, &sessions, client.InNamespace(w.namespace)))
	for _, s := range sessions.Items {
		if s.Status.Record != nil && s.Status.Record.UID == d.UID && meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionHeld) {
			return true
		}
	}
	return false
}

func (w *world) playReplicaSet(set *appsv1.ReplicaSet) (active int32) {
	w.t.Helper()
	pods := w.podsOf(set)
	for i := range pods {
		if !pods[i].DeletionTimestamp.IsZero() || pods[i].Status.Phase == corev1.PodFailed || pods[i].Status.Phase == corev1.PodSucceeded {
			continue
		}
		if active++; active > *set.Spec.Replicas {
			w.must(client.IgnoreNotFound(w.Delete(w.ctx, &pods[i])))
			active--
		}
	}
	for ; active < *set.Spec.Replicas; active++ {
		spec := *set.Spec.Template.Spec.DeepCopy()
		spec.NodeName = w.node
		w.must(w.Create(w.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: set.Namespace, GenerateName: set.Name + "-", Labels: set.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
		}, Spec: spec}))
	}
	return active
}

func (w *world) podsOf(owner client.Object) []corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace)))
	var ours []corev1.Pod
	for _, pod := range pods.Items {
		if metav1.IsControlledBy(&pod, owner) {
			ours = append(ours, pod)
		}
	}
	return ours
}

func (w *world) playKubelet() {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace)))
	for i := range pods.Items {
		pod := &pods.Items[i]
		_, standIn := pod.Labels[v1alpha1.SessionLabel]
		switch {
		case pod.Spec.NodeName == "":
			// A controller may have deleted it since it was listed.
			err := w.SubResource("binding").Create(w.ctx, pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: w.node}})
			if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
				w.t.Fatal(err)
			}
		case w.deaf[pod.Name], standIn && w.noStart:
		case pod.DeletionTimestamp.IsZero() && (pod.Status.Phase == corev1.PodPending || pod.Status.Phase == ""):
			w.setPod(pod, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}})
			w.ran[pod.Name] = true
		case !pod.DeletionTimestamp.IsZero() && pod.Status.Phase != corev1.PodSucceeded:
			w.setPod(pod, corev1.PodSucceeded, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()}})
		case !pod.DeletionTimestamp.IsZero():
			w.must(client.IgnoreNotFound(w.Delete(w.ctx, pod, client.GracePeriodSeconds(0))))
		}
	}
}

func (w *world) setPod(pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState) {
	w.t.Helper()
	pod.Status.Phase = phase
	pod.Status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: state, Ready: state.Running != nil})
	}
	ready := corev1.ConditionFalse
	if state.Running != nil {
		ready = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	if err := w.Status().Update(w.ctx, pod); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		w.t.Fatal(err)
	}
}

// running counts the workload's pods whose container runs.
func (w *world) running(name string) int {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.MatchingLabels{"app": name}))
	n := 0
	for i := range pods.Items {
		if _, standIn := pods.Items[i].Labels[v1alpha1.SessionLabel]; !standIn && containerRuns(&pods.Items[i], "worker") {
			n++
		}
	}
	return n
}

// held is an operator under which alice's session holds the deployment worker,
// which had so many replicas.
func (w *world) held(replicas int32) *Reconciler {
	w.t.Helper()
	w.deploy("worker", replicas)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	return operator
}

// ask creates a session as the command line tool does.
func (w *world) ask(name, target string, change ...func(*v1alpha1.SessionSpec)) *v1alpha1.Session {
	w.t.Helper()
	s := &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.SessionSpec{
			Target:    v1alpha1.Target{Group: "apps", Resource: "deployments", Name: target, UID: w.deployment(target).UID, Container: "worker"},
			Takeover:  v1alpha1.TakeoverScaleDown,
			Owner:     v1alpha1.Owner{Username: name + "@example.com"},
			ClientKey: clientKey,
		},
	}
	for _, c := range change {
		c(&s.Spec)
	}
	w.must(w.Create(w.ctx, s))
	return s
}

// session reads it; nil when it is gone.
func (w *world) session(name string) *v1alpha1.Session {
	w.t.Helper()
	s := &v1alpha1.Session{}
	err := w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return s
}

func (w *world) conditionOf(name, kind string) metav1.Condition {
	w.t.Helper()
	s := w.session(name)
	if s == nil {
		return metav1.Condition{}
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (w *world) isReady(name string) bool {
	return w.conditionOf(name, v1alpha1.ConditionReady).Status == metav1.ConditionTrue
}

// operator is a freshly started one: nothing in its memory.
func (w *world) operator(writer client.Client) *Reconciler {
	now := func() time.Time { return w.clock }
	return &Reconciler{
		Live: w.WithWatch, Writer: writer, Kinds: hold.AllKinds(), PolicyName: testPolicy, Flux: true,
		// The policy is made in the same second as the first sessions.
		PolicyLag: -time.Hour,
		Agent:     Agent{Image: "registry.example/agent:1"},
		Hearing:   &Hearing{Live: w.WithWatch, Now: now}, Now: now,
	}
}

func (w *world) reconcile(r *Reconciler, name string) error {
	_, err := r.Reconcile(w.ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: w.namespace, Name: name}})
	return err
}

// drive plays the cluster and the operator until it holds.
func (w *world) drive(r *Reconciler, name, what string, holds func() bool) {
	w.t.Helper()
	w.until(what, func() bool {
		w.play()
		if err := w.reconcile(r, name); err != nil {
			w.t.Fatalf("reconciling: %v", err)
		}
		return holds()
	})
}

// leftovers names what is still there of a session that is gone, apart from
// what the garbage collector takes with it.
func (w *world) leftovers(deployments ...string) []string {
	w.t.Helper()
	var found []string
	for _, name := range deployments {
		if value, ok := w.deployment(name).Annotations[v1alpha1.ClaimAnnotation]; ok {
			found = append(found, "claim on deployment: "+value)
		}
		for _, m := range v1alpha1.Marks {
			for _, key := range []string{m.Key, m.Ours} {
				if _, ok := w.deployment(name).Labels[key]; ok {
					found = append(found, "mark on deployment: "+key)
				}
			}
		}
	}
	var sets appsv1.ReplicaSetList
	w.must(w.List(w.ctx, &sets, client.InNamespace(w.namespace)))
	for _, set := range sets.Items {
		for _, key := range []string{v1alpha1.ClaimAnnotation, v1alpha1.NudgeAnnotation} {
			if _, ok := set.Annotations[key]; ok {
				found = append(found, fmt.Sprintf("%s on replica set %s", key, set.Name))
			}
		}
	}
	return found
}
