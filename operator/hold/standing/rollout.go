package standing

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// RolloutUnseen compares the generations of an Argo Rollout, which writes the
// observed one as a text.
func RolloutUnseen(rollout *unstructured.Unstructured) string {
	observed, err := strconv.ParseInt(statusOf(rollout, "observedGeneration"), 10, 64)
	if err != nil {
		return "it was not yet seen by its controller"
	}
	return Unseen(observed, rollout.GetGeneration())
}

// RolloutRefusal is for an Argo Rollout in the middle of a canary or of a
// blue-green switch: its pods are of two templates, whose ratio would be made
// anew.
func RolloutRefusal(rollout *unstructured.Unstructured) string {
	stable, current := statusOf(rollout, "stableRS"), statusOf(rollout, "currentPodHash")
	if stable == "" || stable == current {
		return ""
	}
	return fmt.Sprintf("it is between two versions (%s is stable, %s is being rolled out): promote or abort and undo it first", stable, current)
}

func statusOf(rollout *unstructured.Unstructured, field string) string {
	text, _, _ := unstructured.NestedString(rollout.Object, "status", field)
	return text
}
