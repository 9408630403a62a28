package hold

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// set is a StatefulSet of three pods, so many of which are of the new template.
func set(updated int32, change func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Generation: 2},
		Spec:       appsv1.StatefulSetSpec{Replicas: ptr.To(int32(3)), UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType}},
		Status:     appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: updated, CurrentRevision: "a", UpdateRevision: "b"},
	}
	if change != nil {
		change(s)
	}
	return s
}

func argo(t *testing.T, text string) client.Object {
	t.Helper()
	object := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(text))
	must(t, err)
	must(t, json.Unmarshal(data, &object.Object))
	return object
}

// What would be lost at zero is refused, what is only on its way is waited for.
func TestInspect(t *testing.T) {
	claims := []corev1.PersistentVolumeClaim{{}}
	for name, c := range map[string]struct {
		kind            Workload
		object          client.Object
		rollout, refuse string
	}{
		"a set, updated":          {StatefulSet{}, set(3, nil), "", ""},
		"a set, not seen":         {StatefulSet{}, set(3, func(s *appsv1.StatefulSet) { s.Generation = 3 }), "generation 3 was not yet seen", ""},
		"a set in an update":      {StatefulSet{}, set(1, nil), "1 of 3 pods", ""},
		"a set that is scaled up": {StatefulSet{}, set(0, func(s *appsv1.StatefulSet) { s.Status.Replicas, s.Status.CurrentRevision = 1, "b" }), "", ""},
		"a set in a partitioned update": {StatefulSet{}, set(1, func(s *appsv1.StatefulSet) {
			s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(2))}
		}), "1 of 3 pods", "partitioned update"},
		"a set that waits for deletions": {StatefulSet{}, set(1, func(s *appsv1.StatefulSet) {
			s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
		}), "1 of 3 pods", "OnDelete"},
		"a set whose claims go with the pods": {StatefulSet{}, set(3, func(s *appsv1.StatefulSet) {
			s.Spec.VolumeClaimTemplates = claims
			s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType}
		}), "", "whenScaled is Delete"},
		"a set whose claims go with it": {StatefulSet{}, set(3, func(s *appsv1.StatefulSet) {
			s.Spec.VolumeClaimTemplates = claims
			s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: appsv1.DeletePersistentVolumeClaimRetentionPolicyType}
		}), "", ""},
		"a rollout, done":       {Rollout{}, argo(t, `{metadata: {generation: 4}, status: {observedGeneration: "4", stableRS: a, currentPodHash: a}}`), "", ""},
		"a rollout, not seen":   {Rollout{}, argo(t, `{metadata: {generation: 4}, status: {observedGeneration: "3", stableRS: a, currentPodHash: a}}`), "generation 4 was not yet seen", ""},
		"a rollout in a canary": {Rollout{}, argo(t, `{metadata: {generation: 4}, status: {observedGeneration: "4", stableRS: a, currentPodHash: b}}`), "", "a is stable, b is being rolled out"},
		"a new rollout":         {Rollout{}, argo(t, `{metadata: {generation: 1}, status: {}}`), "not yet seen", ""},
		"a job that is over": {Job{}, &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobComplete, Status: corev1.ConditionTrue},
		}}}, "", "has finished"},
		"another's job": {Job{}, &batchv1.Job{Spec: batchv1.JobSpec{ManagedBy: ptr.To("kueue.x-k8s.io/multikueue")}}, "", "managedBy"},
		"a daemon set":  {DaemonSet{}, &appsv1.DaemonSet{}, "", "--copy-target alone"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.kind.Inspect(c.object)
			if !strings.Contains(got.Rollout, c.rollout) || (c.rollout == "") != (got.Rollout == "") {
				t.Errorf("it waits for %q, want %q", got.Rollout, c.rollout)
			}
			if !strings.Contains(got.Refusal, c.refuse) || (c.refuse == "") != (got.Refusal == "") {
				t.Errorf("it is refused for %q, want %q", got.Refusal, c.refuse)
			}
		})
	}
}

// A custom resource is held by what its definition says, or not at all.
func TestScalableLearns(t *testing.T) {
	c, _ := apiClient(t)
	define := func(plural, subresources string) {
		t.Helper()
		must(t, c.Create(t.Context(), argo(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: `+plural+`.learn.example.com},
			spec: {group: learn.example.com, scope: Namespaced, names: {plural: `+plural+`, kind: `+plural+`}, versions: [{name: v1, served: true, storage: true,
			schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}, subresources: `+subresources+`}]}}`)))
	}
	define("good", `{scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.pods.count, labelSelectorPath: .status.pods.selector}}`)
	define("other", `{scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}}`)
	define("blind", `{scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}`)
	define("plain", `{}`)
	learn := func(plural string) (Workload, error) {
		return Learn(context.Background(), c, Scalable{GroupResource: schema.GroupResource{Group: "learn.example.com", Resource: plural}})
	}
	for plural, want := range map[string]string{
		"other": ".spec.size", "blind": "labelSelectorPath", "plain": "no scale subresource", "absent": "no custom resource",
	} {
		_, err := learn(plural)
		if message, no := IsNotScalable(err); !no || !strings.Contains(message, want) {
			t.Errorf("%s: %v, want %q", plural, err, want)
		}
	}
	good, err := learn("good")
	must(t, err)
	state := good.Inspect(argo(t, `{spec: {replicas: 4}, status: {pods: {count: 3, selector: "app=a"}}}`))
	if state.Replicas != 4 || state.Running != 3 || state.Selector.String() != "app=a" || state.Refusal != "" {
		t.Errorf("it is seen as %+v", state)
	}
	for text, want := range map[string]string{
		`{spec: {}, status: {pods: {selector: "app=a"}}}`: "not set", `{spec: {replicas: 1}}`: "which pods",
	} {
		if got := good.Inspect(argo(t, text)).Refusal; !strings.Contains(got, want) {
			t.Errorf("%s is refused for %q, want %q", text, got, want)
		}
	}
}
