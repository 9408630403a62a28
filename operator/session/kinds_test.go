package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// stage is a world with the real controllers, in which the test plays the
// scheduler, the kubelets, and the controllers of custom kinds.
type stage struct {
	*world
	// played says that Rollouts have their own controller here.
	played bool
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := worldAt(t, apitest.Controllers(t)).withKinds()
	for _, kind := range []schema.GroupVersionKind{rolloutKind, workerKind, scaledObjectKind, scaledJobKind} {
		s.awaits("the API server serves "+kind.Kind, func() bool {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
			return s.List(s.ctx, list, client.InNamespace(s.namespace)) == nil
		})
	}
	s.custom = []schema.GroupResource{{Group: "example.com", Resource: "workers"}}
	return s
}

var (
	rolloutKind = schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"}
	workerKind  = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Worker"}

	scaledObjectKind = schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"}
	scaledJobKind    = schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledJob"}
)

const anything = `{type: object, x-kubernetes-preserve-unknown-fields: true}`

// definitions are of the custom kinds, with what matters here of Argo's and
// KEDA's own.
var definitions = []string{`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledobjects.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {plural: scaledobjects, singular: scaledobject, kind: ScaledObject}
  versions: [{name: v1alpha1, served: true, storage: true, subresources: {status: {}},
    schema: {openAPIV3Schema: {type: object, properties: {spec: ` + anything + `, status: ` + anything + `}}}}]
`, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledjobs.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {plural: scaledjobs, singular: scaledjob, kind: ScaledJob}
  versions: [{name: v1alpha1, served: true, storage: true, subresources: {status: {}},
    schema: {openAPIV3Schema: {type: object, properties: {spec: ` + anything + `, status: ` + anything + `}}}}]
`, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io, annotations: {api-approved.kubernetes.io: unapproved}}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {plural: rollouts, singular: rollout, kind: Rollout}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: ` + anything + `, status: ` + anything + `}}}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.HPAReplicas, labelSelectorPath: .status.selector}}
`, scalableKind("worker", "Worker")}

// scalableKind is the definition of a kind with a scale subresource.
func scalableKind(name, kind string) string {
	return `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + name + `s.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: ` + name + `s, singular: ` + name + `, kind: ` + kind + `}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: ` + anything + `, status: ` + anything + `}}}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}}
`
}

// object reads YAML.
func (s *stage) object(text string) *unstructured.Unstructured {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	s.must(yaml.Unmarshal([]byte(text), &object.Object))
	return object
}

// awaits plays until it holds. The controllers are real and take their time.
func (s *stage) awaits(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			s.dump()
			s.t.Fatalf("never happened: %s", what)
		}
		s.playKubelet()
		if !s.played {
			s.playCustom(rolloutKind)
		}
		s.playCustom(workerKind)
		s.playKEDA(scaledObjectKind)
		s.playKEDA(scaledJobKind)
	}
}

// playCustom makes one move of the controllers of a custom kind: a ReplicaSet
// each, and the status.
func (s *stage) playCustom(kind schema.GroupVersionKind) {
	s.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := s.List(s.ctx, list, client.InNamespace(s.namespace)); err != nil {
		return // not served yet
	}
	for i := range list.Items {
		owner := &list.Items[i]
		labels := map[string]string{"app": owner.GetName(), "rollouts-pod-template-hash": "abc"}
		number, _, _ := unstructured.NestedInt64(owner.Object, "spec", "replicas")
		set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: owner.GetName() + "-abc", Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		}, Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template(owner.GetName())}}
		set.Spec.Template.Labels = labels
		if err := s.Get(s.ctx, client.ObjectKeyFromObject(set), set); apierrors.IsNotFound(err) {
			s.must(s.Create(s.ctx, set))
		}
		if int64(*set.Spec.Replicas) != number {
			before := set.DeepCopy()
			set.Spec.Replicas = ptr.To(int32(number))
			s.must(s.Patch(s.ctx, set, client.MergeFrom(before)))
		}
		before := owner.DeepCopy()
		status := map[string]any{"replicas": int64(set.Status.Replicas), "HPAReplicas": int64(set.Status.Replicas), "selector": "app=" + owner.GetName()}
		if kind == rolloutKind {
			maps.Copy(status, map[string]any{"observedGeneration": fmt.Sprint(owner.GetGeneration()), "stableRS": "abc", "currentPodHash": "abc"})
		}
		owner.Object["status"] = status
		if data, _ := client.MergeFrom(before).Data(owner); string(data) != "{}" {
			s.must(client.IgnoreNotFound(s.Status().Patch(s.ctx, owner, client.MergeFrom(before))))
		}
	}
}

func template(name string) corev1.PodTemplateSpec {
	return deployment("", name).Spec.Template
}

// pods of a workload that run, without stand-ins, by name.
func (s *stage) pods(name string) []string {
	s.t.Helper()
	var pods corev1.PodList
	s.must(s.List(s.ctx, &pods, client.InNamespace(s.namespace), client.MatchingLabels{"app": name}))
	var names []string
	for i := range pods.Items {
		if _, standIn := pods.Items[i].Labels[v1alpha1.SessionLabel]; !standIn && containerRuns(&pods.Items[i], "worker") {
			names = append(names, pods.Items[i].Name)
		}
	}
	return names
}

// workload is one row of the table of kinds.
type workload struct {
	// make are the objects, the target first.
	make []string
	// target is what the session names.
	group, resource string
	kind            schema.GroupVersionKind
	// pods that run before and after it.
	pods int
	// held says whether the object is at its zero.
	held func(content map[string]any) bool
	// same are fields that are not the same afterwards; the documentation says
	// so.
	other [][]string
	// spec of the session.
	spec func(*v1alpha1.SessionSpec)
	// finish ends what the session waits for.
	finish func(s *stage, name string)
}

func noReplicas(content map[string]any) bool {
	n, found, _ := unstructured.NestedInt64(content, "spec", "replicas")
	return found && n == 0
}

func isSuspended(content map[string]any) bool {
	suspend, _, _ := unstructured.NestedBool(content, "spec", "suspend")
	return suspend
}

const podTemplate = `{metadata: {labels: {app: NAME}}, spec: {terminationGracePeriodSeconds: 30, containers: [{name: worker, image: registry.example/worker:1}]}}`

const jobTemplate = `{metadata: {labels: {app: NAME}}, spec: {restartPolicy: Never, containers: [{name: worker, image: registry.example/worker:1}]}}`

var apps, batch = schema.GroupVersion{Group: "apps", Version: "v1"}, schema.GroupVersion{Group: "batch", Version: "v1"}

var table = map[string]workload{
	"deployment": {
		make:  []string{`{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 2, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`},
		group: "apps", resource: "deployments", kind: apps.WithKind("Deployment"), pods: 2, held: noReplicas,
		other: [][]string{{"status", "conditions"}},
	},
	"statefulset": {
		make: []string{`{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2, serviceName: NAME, ordinals: {start: 5}, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `,
			volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]}}`},
		group: "apps", resource: "statefulsets", kind: apps.WithKind("StatefulSet"), pods: 2, held: noReplicas,
	},
	"replicaset": {
		make:  []string{`{apiVersion: apps/v1, kind: ReplicaSet, spec: {replicas: 2, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`},
		group: "apps", resource: "replicasets", kind: apps.WithKind("ReplicaSet"), pods: 2, held: noReplicas,
	},
	"rollout": {
		make:  []string{`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {replicas: 2, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`},
		group: "argoproj.io", resource: "rollouts", kind: rolloutKind, pods: 2, held: noReplicas,
	},
	"rollout-of-a-deployment": {
		make: []string{
			`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {replicas: 2, workloadRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}}}`,
			`{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`,
		},
		group: "argoproj.io", resource: "rollouts", kind: rolloutKind, pods: 2, held: noReplicas,
	},
	"custom": {
		make:  []string{`{apiVersion: example.com/v1, kind: Worker, spec: {replicas: 2, queue: orders}}`},
		group: "example.com", resource: "workers", kind: workerKind, pods: 2, held: noReplicas,
	},
	"job": {
		make:  []string{`{apiVersion: batch/v1, kind: Job, spec: {parallelism: 2, completions: 5, template: ` + jobTemplate + `}}`},
		group: "batch", resource: "jobs", kind: batch.WithKind("Job"), pods: 2, held: isSuspended,
		other: [][]string{{"status"}},
		spec:  func(s *v1alpha1.SessionSpec) { s.RestartOK = true },
	},
	"scaledjob": {
		make:  []string{`{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {annotations: {team: shop, autoscaling.keda.sh/paused: "false"}}, spec: {jobTargetRef: {template: ` + jobTemplate + `}}}`},
		group: "keda.sh", resource: "scaledjobs", kind: scaledJobKind,
		held: func(content map[string]any) bool {
			value, _, _ := unstructured.NestedString(content, "metadata", "annotations", "autoscaling.keda.sh/paused")
			return value == "true"
		},
		other: [][]string{{"status"}},
	},
	"cronjob": {
		make:  []string{`{apiVersion: batch/v1, kind: CronJob, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: ` + jobTemplate + `}}}}`},
		group: "batch", resource: "cronjobs", kind: batch.WithKind("CronJob"), held: isSuspended,
		other: [][]string{{"status"}},
		finish: func(s *stage, name string) {
			s.awaits("the session waits for the job that runs", func() bool {
				ready := s.conditionOf(name, v1alpha1.ConditionReady)
				return ready.Reason == v1alpha1.ReasonOldPodsRunning && strings.Contains(ready.Message, name+"-now-")
			})
			var pods corev1.PodList
			s.must(s.List(s.ctx, &pods, client.InNamespace(s.namespace), client.MatchingLabels{batchv1.JobNameLabel: name + "-now"}))
			for i := range pods.Items {
				s.setPod(&pods.Items[i], corev1.PodSucceeded, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()}})
			}
		},
	},
}

// Every kind is held and comes back, with the controllers that it has in a
// cluster.
func TestKinds(t *testing.T) {
	s := newStage(t)
	names := slices.Sorted(maps.Keys(table))
	for _, name := range names {
		for _, text := range table[name].make {
			object := s.object(strings.ReplaceAll(text, "NAME", name))
			object.SetName(name)
			object.SetNamespace(s.namespace)
			s.must(s.Create(s.ctx, object, client.FieldOwner("team")))
		}
	}
	s.beginJob("cronjob")
	all := func(what string, holds func(name string, w workload) bool) {
		t.Helper()
		for _, name := range names {
			s.awaits(name+": "+what, func() bool { return holds(name, table[name]) })
		}
	}
	running := func(name string, w workload) bool { return name == "cronjob" || len(s.pods(name)) == w.pods }
	all("its pods run", running)
	all("nothing moves any more", func(name string, w workload) bool {
		seen, _, _ := unstructured.NestedInt64(s.read(w, name).Object, "status", "observedGeneration")
		return w.group != "apps" || seen == s.read(w, name).GetGeneration()
	})
	before := map[string]*unstructured.Unstructured{}
	for _, name := range names {
		before[name] = s.read(table[name], name)
	}
	s.start()
	for _, name := range names {
		w := table[name]
		s.askFor(name, v1alpha1.Target{Group: w.group, Resource: w.resource, Name: name, UID: before[name].GetUID(), Container: "worker"}, w.spec)
	}
	for _, name := range names {
		if finish := table[name].finish; finish != nil {
			finish(s, name)
		}
	}
	all("its session is ready", func(name string, w workload) bool { return s.isReady(name) })
	for _, name := range names {
		if held := s.read(table[name], name); !table[name].held(held.Object) {
			t.Errorf("%s is not held: %v", name, held.Object["spec"])
		}
		if pods := s.pods(name); len(pods) > 0 {
			t.Errorf("%s is held and the pods %v run", name, pods)
		}
	}
	s.isFirstReplica("statefulset")
	for _, name := range names {
		s.must(s.Delete(s.ctx, s.session(name)))
	}
	all("its session is gone", func(name string, _ workload) bool { return s.session(name) == nil })
	all("its pods run again", running)
	for _, name := range names {
		w := table[name]
		var diff string
		s.awaits(name+" is what it was", func() bool {
			diff = cmp.Diff(normalOf(w, before[name]), normalOf(w, s.read(w, name)))
			if diff != "" && time.Now().After(s.clock.Add(80*time.Second)) {
				t.Errorf("%s differs (-before +after):\n%s", name, diff)
				return true
			}
			return diff == ""
		})
	}
}

// beginJob begins a job of a CronJob by hand.
func (s *stage) beginJob(name string) {
	s.t.Helper()
	cron := &batchv1.CronJob{}
	s.must(s.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, cron))
	s.must(s.Create(s.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.namespace, Name: name + "-now",
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cron, batch.WithKind("CronJob"))},
	}, Spec: *cron.Spec.JobTemplate.Spec.DeepCopy()}))
	s.awaits("the job runs", func() bool { return len(s.pods(name)) == 1 })
}

// isFirstReplica checks that the stand-in has what makes the first replica that.
func (s *stage) isFirstReplica(name string) {
	s.t.Helper()
	var pods corev1.PodList
	s.must(s.List(s.ctx, &pods, client.InNamespace(s.namespace), client.MatchingLabels{v1alpha1.SessionLabel: name}))
	if len(pods.Items) != 1 {
		s.t.Fatalf("%d stand-ins of %s", len(pods.Items), name)
	}
	spec := pods.Items[0].Spec
	if spec.Hostname != name+"-5" || spec.Subdomain != name {
		s.t.Errorf("the stand-in is %s.%s", spec.Hostname, spec.Subdomain)
	}
	claimed := slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == "data" && v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == "data-"+name+"-5"
	})
	if !claimed {
		s.t.Errorf("the stand-in has not the first replica's claim: %v", spec.Volumes)
	}
}

func (s *stage) read(w workload, name string) *unstructured.Unstructured {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(w.kind)
	s.must(s.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, object))
	return object
}

// askFor creates a session as the command line tool does.
func (s *stage) askFor(name string, target v1alpha1.Target, change func(*v1alpha1.SessionSpec)) {
	s.t.Helper()
	session := &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.SessionSpec{
			Target: target, Takeover: v1alpha1.TakeoverScaleDown, Owner: v1alpha1.Owner{Username: name + "@example.com"}, ClientKey: clientKey,
			// The tests' machine may be busy.
			LeaseDurationSeconds: 600, SetupDeadlineSeconds: 600,
		},
	}
	if change != nil {
		change(&session.Spec)
	}
	s.must(s.Create(s.ctx, session))
}

// normalOf is an object without resourceVersion, generation and times, and without
// the order in which those have its managed fields.
func normalOf(w workload, object *unstructured.Unstructured) map[string]any {
	content := object.DeepCopy().Object
	for _, path := range append([][]string{
		{"metadata", "resourceVersion"}, {"metadata", "generation"}, {"status", "observedGeneration"},
	}, w.other...) {
		unstructured.RemoveNestedField(content, path...)
	}
	fields, _, _ := unstructured.NestedSlice(content, "metadata", "managedFields")
	fields = slices.DeleteFunc(fields, func(f any) bool { return f.(map[string]any)["subresource"] == "status" })
	for _, f := range fields {
		delete(f.(map[string]any), "time")
	}
	slices.SortFunc(fields, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	_ = unstructured.SetNestedSlice(content, fields, "metadata", "managedFields")
	return content
}

// What cannot be held says so before anything is done to it, and what to do; a
// copy of it is made all the same.
func TestKindsThatAreNotHeld(t *testing.T) {
	s := newStage(t)
	s.start()
	for name, c := range map[string]struct {
		text            string
		group, resource string
		message         string
		copied          bool
	}{
		"daemonset": {
			`{apiVersion: apps/v1, kind: DaemonSet, spec: {selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`,
			"apps", "daemonsets", "--copy-target alone", true,
		},
		"pod": {
			`{apiVersion: v1, kind: Pod, metadata: {labels: {app: NAME}}, spec: {containers: [{name: worker, image: registry.example/worker:1}]}}`,
			"", "pods", "--copy-target alone", true,
		},
		"job": {
			`{apiVersion: batch/v1, kind: Job, spec: {template: ` + jobTemplate + `}}`,
			"batch", "jobs", "--restart-ok", true,
		},
		"queued": {
			`{apiVersion: batch/v1, kind: Job, metadata: {labels: {kueue.x-k8s.io/queue-name: research}}, spec: {suspend: true, template: ` + jobTemplate + `}}`,
			"batch", "jobs", "Kueue", false,
		},
		"deleting": {
			`{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 1, serviceName: NAME, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `,
				persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain},
				volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]}}`,
			"apps", "statefulsets", "whenScaled is Delete", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := s.object(strings.ReplaceAll(c.text, "NAME", name))
			object.SetName(name)
			object.SetNamespace(s.namespace)
			s.must(s.Create(s.ctx, object))
			var data *corev1.PersistentVolumeClaim
			if name == "deleting" {
				s.awaits("its pod runs", func() bool { return len(s.pods(name)) == 1 })
				data = s.claim("data-" + name + "-0")
			}
			target := v1alpha1.Target{Group: c.group, Resource: c.resource, Name: name, UID: object.GetUID(), Container: "worker"}
			s.askFor(name, target, nil)
			s.awaits("the session is over", func() bool {
				restored := meta.FindStatusCondition(s.session(name).Status.Conditions, v1alpha1.ConditionRestored)
				return restored != nil && restored.Status == metav1.ConditionTrue
			})
			if ready := s.conditionOf(name, v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonHoldRefused || !strings.Contains(ready.Message, c.message) {
				t.Errorf("it ended with %s: %s; want %s and %q", ready.Reason, ready.Message, v1alpha1.ReasonHoldRefused, c.message)
			}
			if data != nil {
				// Nothing is known to happen: the controllers are given something else to
				// do, and are seen to have done it.
				s.settled()
				if now := s.claim(data.Name); now == nil || now.UID != data.UID || !now.DeletionTimestamp.IsZero() {
					t.Error("the claim was deleted with its data")
				}
			}
			if c.copied {
				s.askFor(name+"-copy", target, func(spec *v1alpha1.SessionSpec) { spec.Takeover = v1alpha1.TakeoverCopy })
				s.awaits("a copy is made", func() bool { return s.isReady(name + "-copy") })
			}
		})
	}
}

// settled has the controllers scale another stateful set to zero and its claim
// collected, which comes after whatever they had to do before.
func (s *stage) settled() {
	s.t.Helper()
	set := s.object(`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: other}, spec: {replicas: 1, serviceName: other, selector: {matchLabels: {app: other}}, template: ` +
		strings.ReplaceAll(podTemplate, "NAME", "other") + `, persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain},
		volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]}}`)
	set.SetNamespace(s.namespace)
	s.must(s.Create(s.ctx, set))
	s.awaits("the other's pod runs", func() bool { return len(s.pods("other")) == 1 })
	s.must(s.Patch(s.ctx, set, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":0}}`))))
	s.awaits("the other's claim is deleted with its data", func() bool { return s.claim("data-other-0") == nil })
}

// claim reads a volume claim; nil when it is gone.
func (s *stage) claim(name string) *corev1.PersistentVolumeClaim {
	s.t.Helper()
	claim := &corev1.PersistentVolumeClaim{}
	err := s.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err)
	return claim
}
