package plan

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/session"
)

// allow gives a user one right in the client's namespace.
func allow(t *testing.T, c *session.Client, user, verb, group, kind string) {
	t.Helper()
	roles := c.Kube.RbacV1()
	role, err := roles.Roles(c.Namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{GenerateName: user + "-"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{kind}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = roles.RoleBindings(c.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	must(t, err)
}

func quantity(text string) resource.Quantity { return resource.MustParse(text) }
