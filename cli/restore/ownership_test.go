package restore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// The number is owned by those who owned it, so that what they apply next counts:
// told by the live object, by what the operator's last write owes, and by the Session.
func TestNumberIsGivenBack(t *testing.T) {
	w := newWorld(t)
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	force := true // who has made it owns the number too
	apply := func(name, number string) {
		text := fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %q}, "spec": {%s "selector": {"matchLabels": {"app": %q}}}}`, name, number, name)
		_, err := deployments.Patch(t.Context(), name, types.ApplyPatchType, []byte(text), metav1.PatchOptions{FieldManager: "team", Force: &force})
		w.must(err)
	}
	read := func(name string) *appsv1.Deployment {
		d, err := deployments.Get(t.Context(), name, metav1.GetOptions{})
		w.must(err)
		return d
	}
	claim := func(name string) {
		d := read(name)
		w.annotate(d, v1alpha1.NewClaim(d.UID, "a-session-that-is-gone", "gone", "ada", 4, time.Now()).String())
	}
	for _, name := range []string{"applied", "owed", "remembered"} {
		w.deploy(name)
		apply(name, `"replicas": 0,`)
	}
	claim("applied")
	// The operator has brought these to zero, and died before it gave the number back.
	for _, name := range []string{"owed", "remembered"} {
		_, err := deployments.Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec": {"replicas": 5}}`), metav1.PatchOptions{FieldManager: "kubectl"})
		w.must(err)
		d := read(name)
		*d.Spec.Replicas = 0
		if name == "owed" {
			i := 0
			for d.ManagedFields[i].Manager != "team" {
				i++
			}
			d.ManagedFields[i].FieldsV1 = metav1.NewFieldsV1(`{"f:metadata": {"f:annotations": {"f:understudy.dev/owed": {}}}, "f:spec": {"f:selector": {}}}`)
		}
		_, err = deployments.Update(t.Context(), d, metav1.UpdateOptions{FieldManager: operatorName})
		w.must(err)
		claim(name)
	}
	s := w.session("alice", read("remembered"), 4, false)
	s.Status.Record.ReplicaOwners = []v1alpha1.FieldOwner{{Manager: "team", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "apps/v1"}}
	w.saves(s)

	_, err := w.run(false)
	w.must(err)
	for _, name := range []string{"applied", "owed", "remembered"} {
		var owners []string
		d := read(name)
		for _, entry := range d.ManagedFields {
			if raw := entry.FieldsV1.GetRawString(); strings.Contains(raw, `"f:replicas"`) && entry.Subresource == "" {
				owners = append(owners, entry.Manager+" "+string(entry.Operation))
			} else if strings.Contains(raw, "understudy.dev/") || ownership.Ours(entry) {
				t.Errorf("%s: left in the entry of %s: %s", name, entry.Manager, raw)
			}
		}
		if n := w.replicas(name); n != 4 || !strings.Contains(strings.Join(owners, ", "), "team Apply") {
			t.Errorf("%s is at %d, not 4, and its number is owned by %v", name, n, owners)
		}
		apply(name, `"replicas": 6,`)
		if n := w.replicas(name); n != 6 {
			t.Errorf("%s is at %d after the team has applied 6", name, n)
		}
	}
}
