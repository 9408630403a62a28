package target

import (
	"context"
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"understudy.dev/understudy/operator/hold/standing"
)

// WhyScaled says why a workload has more pods than it had, as far as that can be read:
// its number, and who wrote it, or the rollout that it is in.
func (r Reader) WhyScaled(ctx context.Context, namespace string, workload metav1.OwnerReference) string {
	in := resolver{Reader: r, namespace: namespace}
	k, err := in.kindOfOwner(workload)
	if err != nil {
		return ""
	}
	object, err := r.Objects.Resource(k.GroupVersionResource).Namespace(namespace).Get(ctx, workload.Name, metav1.GetOptions{})
	if err != nil || object.GetUID() != workload.UID || len(k.number) == 0 {
		return ""
	}
	rollout, deployment := "", appsv1.Deployment{}
	if k.name == "Deployment" && runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &deployment) == nil {
		rollout = standing.DeploymentRollout(&deployment)
	}
	return standing.Scaled(number(k, object), writer(object.GetManagedFields(), k.number), rollout)
}

// writer is the field manager that has written a field last; empty for none.
func writer(fields []metav1.ManagedFieldsEntry, path []string) string {
	var last *metav1.ManagedFieldsEntry
	for i := range fields {
		var content map[string]map[string]any
		entry := &fields[i]
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &content) != nil {
			continue
		}
		if _, is := content["f:"+path[0]]["f:"+path[1]]; is && (last == nil || entry.Time != nil && last.Time.Before(entry.Time)) {
			last = entry
		}
	}
	switch {
	case last == nil:
		return ""
	case last.Manager == "kube-controller-manager":
		return "a HorizontalPodAutoscaler"
	}
	return last.Manager
}
