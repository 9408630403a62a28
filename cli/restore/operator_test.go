package restore

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// An operator that does without a lease is found by its pod, and left to do its work.
// One that agrees by a lease is at work while it renews that, ready or not.
func TestOperatorWithoutLease(t *testing.T) {
	for name, c := range map[string]struct {
		elect  string
		ready  int32
		holder string
		works  bool
	}{
		"ready":                        {"--leader-elect=false", 1, "", true},
		"ready, beside an old lease":   {"--leader-elect=false", 1, "before", true},
		"not ready":                    {"--leader-elect=false", 0, "", false},
		"ready, and does not lead":     {"--leader-elect=true", 1, "before", false},
		"ready, before it leads":       {"--leader-elect=true", 1, "", true},
		"not ready, with a lost lease": {"--leader-elect=true", 0, "before", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			bindings := w.kube.RbacV1().ClusterRoleBindings()
			_, err := bindings.Create(t.Context(), &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: operatorName},
				Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: operatorName}},
				RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: operatorName},
			}, metav1.CreateOptions{})
			w.must(err)
			defer func() { w.must(bindings.Delete(t.Context(), operatorName, metav1.DeleteOptions{})) }()
			labels := map[string]string{"app": "operator"}
			operator, err := w.kube.AppsV1().Deployments(w.namespace).Create(t.Context(), &appsv1.Deployment{
				ObjectMeta: metav1.ObjectMeta{Name: operatorName},
				Spec: appsv1.DeploymentSpec{
					Selector: &metav1.LabelSelector{MatchLabels: labels},
					Template: corev1.PodTemplateSpec{
						ObjectMeta: metav1.ObjectMeta{Labels: labels},
						Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "operator", Image: "registry.example/operator:1", Args: []string{c.elect}}}},
					},
				},
			}, metav1.CreateOptions{})
			w.must(err)
			operator.Status.Replicas, operator.Status.ReadyReplicas = c.ready, c.ready
			_, err = w.kube.AppsV1().Deployments(w.namespace).UpdateStatus(t.Context(), operator, metav1.UpdateOptions{})
			w.must(err)
			if c.holder != "" {
				_, err = w.kube.CoordinationV1().Leases(w.namespace).Create(t.Context(), &coordinationv1.Lease{
					ObjectMeta: metav1.ObjectMeta{Name: operatorName},
					Spec:       coordinationv1.LeaseSpec{HolderIdentity: &c.holder, LeaseDurationSeconds: ptr.To(int32(1))},
				}, metav1.CreateOptions{})
				w.must(err)
			}
			_, err = w.run(false)
			if works := err != nil && strings.Contains(err.Error(), "an operator runs in namespace "+w.namespace); works != c.works {
				t.Errorf("at work: %t, want %t (%v)", works, c.works, err)
			}
		})
	}
}
