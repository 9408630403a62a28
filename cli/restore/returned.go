package restore

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// noteReturned says in the Session that remembers an object that it has its number
// again: what that is from now on is the team's. Where something is left to a person the
// Session stays, and the next run goes by it.
func (r *restorer) noteReturned(ctx context.Context, uid types.UID) error {
	for i := range r.sessions {
		s := &r.sessions[i]
		if remembers(s, uid) == nil {
			continue
		}
		sessions := r.operator.Resource(v1alpha1.Resource).Namespace(s.Namespace)
		err := r.patiently(ctx, func() error {
			object, err := sessions.Get(ctx, s.Name, metav1.GetOptions{})
			if err != nil || object.GetUID() != s.UID || !markReturned(object.Object, uid) {
				return err
			}
			_, err = sessions.UpdateStatus(ctx, object, metav1.UpdateOptions{FieldManager: fieldManager})
			return err
		})
		if err != nil {
			return fmt.Errorf("noting in session %s/%s what is put back: %w", s.Namespace, s.Name, err)
		}
	}
	return nil
}

// markReturned does it in a Session's content, and says whether there was something to
// do: of its workload, or of what scales that.
func markReturned(session map[string]any, uid types.UID) bool {
	record, found, _ := unstructured.NestedMap(session, "status", "record")
	if !found {
		return false
	}
	changed := false
	mark := func(content map[string]any, key string) {
		if content["uid"] == string(uid) && content[key] != true {
			content[key], changed = true, true
		}
	}
	mark(record, "returned")
	scalers, _ := record["autoscalers"].([]any)
	for _, scaler := range scalers {
		if content, ok := scaler.(map[string]any); ok {
			mark(content, "resumed")
		}
	}
	return changed && unstructured.SetNestedMap(session, record, "status", "record") == nil
}
