package target

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Ref{
		"targetless":                      {},
		"deployment/worker":               {"apps", "deployments", "worker", ""},
		"deploy/worker":                   {"apps", "deployments", "worker", ""},
		"Deployment/worker/container/app": {"apps", "deployments", "worker", "app"},
		"pod/worker-1":                    {"", "pods", "worker-1", ""},
		"po/worker-1/container/app":       {"", "pods", "worker-1", "app"},
		"statefulset/db":                  {"apps", "statefulsets", "db", ""},
		"sts/db":                          {"apps", "statefulsets", "db", ""},
		"rs/old":                          {"apps", "replicasets", "old", ""},
		"ds/logs":                         {"apps", "daemonsets", "logs", ""},
		"job/report":                      {"batch", "jobs", "report", ""},
		"cronjobs/reports":                {"batch", "cronjobs", "reports", ""},
		"rollout/canary":                  {"argoproj.io", "rollouts", "canary", ""},
		"workers.example.com/orders":      {"example.com", "workers", "orders", ""},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                          "no target is named; hint: say with --target (-t) which workload is meant; " + shapes,
		"worker":                    `target "worker" does not say what it is; hint: did you mean deployment/worker?`,
		"deployment/":               `target "deployment/" cannot be read; hint: ` + shapes,
		"deployment/a/b":            `target "deployment/a/b" cannot be read; hint: did you mean deployment/a/container/b? Else ` + shapes,
		"deploymnt/a/container/b":   `target "deploymnt/a/container/b": there is no kind "deploymnt" to take over; hint: did you mean deployment/a/container/b? Else ` + shapes,
		"StatefulSts/a":             `target "StatefulSts/a": there is no kind "StatefulSts" to take over; hint: did you mean statefulset/a? Else ` + shapes,
		"deploymnt/":                `target "deploymnt/": there is no kind "deploymnt" to take over; hint: ` + shapes,
		"deployment/a/container/":   `target "deployment/a/container/" cannot be read; hint: ` + shapes,
		"deployment/a/pod/b":        `target "deployment/a/pod/b" cannot be read; hint: ` + shapes,
		"svc/db":                    `target "svc/db": a svc runs nothing that could be taken over; hint: name what runs the pods: ` + shapes,
		"example.com":               `target "example.com" does not say what it is; hint: did you mean deployment/example.com?`,
		"cart/worker":               `target "cart/worker": there is no kind "cart" to take over; hint: ` + shapes,
		"deployment/a/container/b/": `target "deployment/a/container/b/" cannot be read; hint: ` + shapes,
	} {
		_, err := Parse(text)
		if got := said(err); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func said(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error() + "; hint: " + failure.Hint(err)
}

func owned(kind, name string) []metav1.OwnerReference {
	yes := true
	api := map[string]string{
		"Session": v1alpha1.GroupVersion.String(), "CronJob": "batch/v1", "Job": "batch/v1", "Worker": "example.com/v1",
		"Kafka": "kafka.example.com/v1", "Node": "v1",
	}[kind]
	if api == "" {
		api = "apps/v1"
	}
	return []metav1.OwnerReference{{APIVersion: api, Kind: kind, Name: name, Controller: &yes}}
}

func pod(name string, owners []metav1.OwnerReference) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: named(name), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	p.OwnerReferences = owners
	return p
}

func set(name string, owners []metav1.OwnerReference) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, OwnerReferences: owners}}
}

func deployment(name, preferred string, containers ...string) *appsv1.Deployment {
	three := int32(3)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid-of"}}
	d.Spec.Replicas = &three
	if preferred != "" {
		d.Spec.Template.Annotations = map[string]string{defaultContainer: preferred}
	}
	for _, c := range containers {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: c})
	}
	d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "migrate"}}
	return d
}

// cluster is what the API server of the tests has.
func cluster(t *testing.T) (Reader, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	controlled := deployment("canary", "", "app")
	controlled.OwnerReferences = owned("Kafka", "canary")
	unset := deployment("unset", "", "app")
	unset.Spec.Replicas = nil
	rolled := deployment("rolled", "", "app")
	rolled.Spec.Replicas = new(int32)
	template := rolled.Spec.Template
	suspended := true
	objects := []runtime.Object{
		&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		deployment("worker", "", "app"), deployment("orders", "", "proxy", "app", "logs"),
		deployment("annotated", "app", "proxy", "app"), controlled, unset, rolled,
		pod("worker-abc-1", owned("ReplicaSet", "worker-abc")), set("worker-abc", owned("Deployment", "worker")),
		pod("bare", nil), pod("standin", owned("Session", "worker-x1")), pod("mirror", owned("Node", "node-1")),
		pod("alone-1", owned("ReplicaSet", "alone")), set("alone", nil), pod("lost-1", owned("ReplicaSet", "lost")),
		pod("db-0", owned("StatefulSet", "db")),
		&appsv1.StatefulSet{ObjectMeta: named("db"), Spec: appsv1.StatefulSetSpec{Template: template}},
		&appsv1.DaemonSet{ObjectMeta: named("logs"), Spec: appsv1.DaemonSetSpec{Template: template}},
		&batchv1.CronJob{ObjectMeta: named("reports"), Spec: batchv1.CronJobSpec{Suspend: &suspended, JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}},
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "reports-1", OwnerReferences: owned("CronJob", "reports")}},
		pod("reports-1-x", owned("Job", "reports-1")),
		custom("argoproj.io/v1alpha1", "Rollout", "canaries", `{"replicas": 4, "workloadRef": {"kind": "Deployment", "name": "rolled"}}`),
		custom("example.com/v1", "Worker", "queue", `{"replicas": 5}`), pod("queue-1", owned("Worker", "queue")),
		custom("example.com/v1", "Worker", "unset", `{}`), pod("unset-1", owned("Worker", "unset")),
	}
	kube := fake.NewClientset()
	kube.Resources = []*metav1.APIResourceList{
		{GroupVersion: "example.com/v1", APIResources: []metav1.APIResource{{Name: "workers", Kind: "Worker"}, {Name: "workers/scale", Kind: "Scale"}, {Name: "others", Kind: "Other"}}},
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	lists := map[schema.GroupVersionResource]string{
		{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}: "RolloutList",
		{Group: "example.com", Version: "v1", Resource: "workers"}:        "WorkerList",
	}
	dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(scheme, lists, objects...)
	return Reader{Objects: dynamic, Discovery: kube.Discovery()}, dynamic
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid-of"}
}

func custom(apiVersion, kind, name, spec string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(fmt.Appendf(nil, `{"apiVersion": %q, "kind": %q, "metadata": {"namespace": "shop", "name": %q, "uid": "uid-of"}, "spec": %s}`, apiVersion, kind, name, spec), &object.Object); err != nil {
		panic(err)
	}
	return object
}

func TestResolve(t *testing.T) {
	const whole = ", which is taken over as a whole"
	workers := v1alpha1.Target{Group: "example.com", Resource: "workers", Name: "queue", UID: "uid-of", Container: "app"}
	in := func(group, resource, name string) v1alpha1.Target {
		return v1alpha1.Target{Group: group, Resource: resource, Name: name, UID: "uid-of", Container: "app"}
	}
	for text, want := range map[string]Target{
		"deployment/worker":                    {Target: object("worker", "app"), Kind: "deployment", Replicas: 3},
		"deployment/unset":                     {Target: object("unset", "app"), Kind: "deployment", Replicas: 1},
		"deployment/annotated":                 {Target: object("annotated", "app"), Kind: "deployment", Replicas: 3},
		"deployment/annotated/container/proxy": {Target: object("annotated", "proxy"), Kind: "deployment", Replicas: 3},
		"deployment/orders": {Target: object("orders", "proxy"), Kind: "deployment", Replicas: 3,
			Notices: []string{"container proxy is taken, the first one; there are also app and logs: choose with /container/NAME"}},
		"pod/worker-abc-1": {Target: object("worker", "app"), Kind: "deployment", Replicas: 3,
			Notices: []string{"pod worker-abc-1 belongs to deployment/worker" + whole}},
		"replicaset/worker-abc": {Target: object("worker", "app"), Kind: "deployment", Replicas: 3,
			Notices: []string{"replicaset worker-abc belongs to deployment/worker" + whole}},
		"statefulset/db": {Target: in("apps", "statefulsets", "db"), Kind: "statefulset", Replicas: 1},
		"pod/db-0": {Target: in("apps", "statefulsets", "db"), Kind: "statefulset", Replicas: 1,
			Notices: []string{"pod db-0 belongs to statefulset/db" + whole}},
		"ds/logs":    {Target: in("apps", "daemonsets", "logs"), Kind: "daemonset", Replicas: 1, NotHeld: daemonNotHeld},
		"pod/bare":   {Target: in("", "pods", "bare"), Kind: "pod", Replicas: 1, NotHeld: podNotHeld},
		"cj/reports": {Target: in("batch", "cronjobs", "reports"), Kind: "cronjob"},
		"pod/reports-1-x": {Target: in("batch", "cronjobs", "reports"), Kind: "cronjob",
			Notices: []string{"pod reports-1-x belongs to cronjob/reports" + whole}},
		"rollout/canaries": {Target: in("argoproj.io", "rollouts", "canaries"), Kind: "rollout", Replicas: 4},
		"deployment/rolled": {Target: in("argoproj.io", "rollouts", "canaries"), Kind: "rollout", Replicas: 4,
			Notices: []string{"deployment rolled belongs to rollout/canaries" + whole}},
		"pod/unset-1": {Target: in("example.com", "workers", "unset"), Kind: "workers.example.com", Replicas: 1, NotHeld: unsetNotHeld,
			Notices: []string{"pod unset-1 belongs to workers.example.com/unset" + whole}},
		"pod/queue-1": {Target: workers, Kind: "workers.example.com", Replicas: 5,
			Notices: []string{"pod queue-1 belongs to workers.example.com/queue" + whole}},
	} {
		want.Namespace = "shop"
		ref, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		reader, _ := cluster(t)
		got, err := Resolve(t.Context(), reader, "shop", ref)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.Object.GetName() != want.Name || (got.Template == nil) == (got.Pod == nil) {
			t.Errorf("%s: it was read as %v, its pods are %v or %v", text, got.Object, got.Template, got.Pod)
		}
		got.Object, got.Template, got.Pod = nil, nil, nil
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func object(name, container string) v1alpha1.Target {
	return v1alpha1.Target{Group: "apps", Resource: "deployments", Name: name, UID: "uid-of", Container: container}
}

func TestResolveRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"deployment/wroker":              `there is no deployment "wroker" in namespace shop; hint: did you mean worker? Or choose another namespace with -n`,
		"job/zzzzzzzzz":                  `there is no job "zzzzzzzzz" in namespace shop; hint: there is reports-1; choose another namespace with -n`,
		"deployment/worker/container/ap": `deployment/worker in namespace shop: there is no container "ap"; hint: there is app`,
		"deployment/orders/container/migrate": `deployment/orders in namespace shop: container "migrate" is an init container, whose place cannot be taken; ` +
			`hint: its containers are proxy, app and logs`,
		"deployment/canary": `deployment/canary is itself controlled by Kafka canary; hint: Kafka canary would undo whatever is done to it, ` +
			`and is of a kind that cannot be taken over`,
		"pod/mirror":           "pod/mirror is itself controlled by Node node-1; hint: Node node-1 would undo whatever is done to it, and is of a kind that cannot be taken over",
		"pod/worker-abc":       `there is no pod "worker-abc" in namespace shop; hint: did you mean worker-abc-1? Or choose another namespace with -n`,
		"pod/standin":          "pod/standin is the stand-in of session worker-x1; hint: name the workload that it stands in for",
		"pod/lost-1":           `there is no replicaset "lost" in namespace shop; hint: there are alone and worker-abc; choose another namespace with -n`,
		"others.example.com/x": "others.example.com has no number of replicas that Kubernetes knows of; hint: what is taken over is one of Kubernetes' own workloads, or has a scale subresource",
		"absent.example.com/x": "the cluster has no resource absent.example.com; hint: " + shapes,
		"x.example.org/x":      "the cluster has no resource x.example.org; hint: " + shapes,
	} {
		ref, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		reader, _ := cluster(t)
		_, err = Resolve(t.Context(), reader, "shop", ref)
		if got := said(err); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestCanBeHeld(t *testing.T) {
	if err := (&Target{Kind: "deployment"}).CanBeHeld(); err != nil {
		t.Error(err)
	}
	err := (&Target{Kind: "daemonset", Target: v1alpha1.Target{Name: "logs"}, NotHeld: daemonNotHeld}).CanBeHeld()
	if got, want := said(err), "daemonset/logs cannot be held: "+daemonNotHeld+"; hint: take a copy beside it: --copy-target without --scale-down"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestResolveForbidden: who may not read is told which right is missing, and
// who may read but not list is not told near names.
func TestResolveForbidden(t *testing.T) {
	refuse := func(verb string) Reader {
		reader, objects := cluster(t)
		objects.PrependReactor(verb, "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "worker", nil)
		})
		return reader
	}
	_, err := Resolve(context.Background(), refuse("get"), "shop", Ref{Group: "apps", Resource: "deployments", Name: "worker"})
	if got := said(err); !strings.HasPrefix(got, "you may not read deployments in namespace shop: ") || !strings.Contains(got, "understudy-user") {
		t.Error(got)
	}
	_, err = Resolve(context.Background(), refuse("list"), "shop", Ref{Group: "apps", Resource: "deployments", Name: "wroker"})
	if got, want := said(err), `there is no deployment "wroker" in namespace shop; hint: choose another namespace with -n`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRolloutsForbidden: a Deployment at zero may be one whose place an Argo Rollout
// has taken. Who may not look is not given it for want of a right, where the cluster
// has Rollouts; what a session holds at zero is at zero for that.
func TestRolloutsForbidden(t *testing.T) {
	reader, objects := cluster(t)
	objects.PrependReactor("list", "rollouts", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "argoproj.io", Resource: "rollouts"}, "", nil)
	})
	resolve := func(name string) (*Target, error) {
		ref, err := Parse("deployment/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return Resolve(context.Background(), reader, "shop", ref)
	}
	if target, err := resolve("rolled"); err != nil || target.Kind != "deployment" {
		t.Errorf("with no Rollouts in the cluster: %v, %s", target, said(err))
	}
	kube := fake.NewClientset()
	kube.Resources = []*metav1.APIResourceList{{GroupVersion: "argoproj.io/v1alpha1", APIResources: []metav1.APIResource{{Name: "rollouts", Kind: "Rollout"}}}}
	reader.Discovery = kube.Discovery()
	target, err := resolve("rolled")
	if got := said(err); !strings.Contains(got, "deployment/rolled has 0 replicas") || !strings.Contains(got, "you may not list rollouts.argoproj.io in namespace shop") ||
		!strings.Contains(got, "workloads.argoRollouts") || !strings.Contains(got, "rollout/NAME") {
		t.Errorf("with Rollouts in the cluster: %v, %s", target, got)
	}
	if target, err := resolve("worker"); err != nil || target.Kind != "deployment" {
		t.Errorf("one that has replicas: %v, %s", target, said(err))
	}
	gvr := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	claim := func(uid types.UID, replicas int32) {
		held, err := objects.Resource(gvr).Namespace("shop").Get(t.Context(), "rolled", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		held.SetAnnotations(map[string]string{v1alpha1.ClaimAnnotation: v1alpha1.NewClaim(uid, "s", "alice", "ada", replicas, time.Unix(0, 0)).String()})
		if _, err := objects.Resource(gvr).Namespace("shop").Update(t.Context(), held, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	claim("uid-of", 3)
	if target, err := resolve("rolled"); err != nil || target.Kind != "deployment" {
		t.Errorf("one that is held: %v, %s", target, said(err))
	}
	for _, c := range []struct {
		uid      types.UID
		replicas int32
	}{{"uid-of", 0}, {"of-another", 3}} {
		claim(c.uid, c.replicas)
		if target, err := resolve("rolled"); err == nil {
			t.Errorf("one whose claim is of %s with %d: %v", c.uid, c.replicas, target)
		}
	}
}

// TestNoNamespace: a namespace that is not there is told apart from one without
// the target, where the user may know.
func TestNoNamespace(t *testing.T) {
	reader, objects := cluster(t)
	ref := Ref{Group: "apps", Resource: "deployments", Name: "worker"}
	_, err := Resolve(t.Context(), reader, "shpo", ref)
	if got, want := said(err), "there is no namespace shpo; hint: choose another with -n, or another cluster with --context"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	objects.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "shpo", nil)
	})
	_, err = Resolve(t.Context(), reader, "shpo", ref)
	if got, want := said(err), `there is no deployment "worker" in namespace shpo; hint: choose another namespace with -n`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
