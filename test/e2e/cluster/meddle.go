package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
)

// TrySession asks the API server, as the user, for a session on a deployment in
// the name of owner. The session is a dry run: it is never there.
func (c *Cluster) TrySession(ctx context.Context, user *User, namespace, deployment, owner string) error {
	target, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading deployment %s: %w", deployment, err)
	}
	session := understudy.Session{
		TypeMeta:   metav1.TypeMeta{APIVersion: understudy.GroupVersion.String(), Kind: "Session"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: deployment + "-", Namespace: namespace},
		Spec: understudy.SessionSpec{
			Target: understudy.Target{
				Group: "apps", Resource: "deployments", Name: deployment, UID: target.UID,
				Container: target.Spec.Template.Spec.Containers[0].Name,
			},
			Takeover: understudy.TakeoverScaleDown,
			Owner:    understudy.Owner{Username: owner},
			// Any key will do for a session that nobody connects to.
			ClientKey:            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
			LeaseDurationSeconds: 5,
		},
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&session)
	if err != nil {
		return fmt.Errorf("writing a session: %w", err)
	}
	delete(object, "status")
	as, err := dynamic.NewForConfig(user.REST())
	if err != nil {
		return fmt.Errorf("connecting as %s: %w", user.Name, err)
	}
	_, err = as.Resource(understudy.Resource).Namespace(namespace).
		Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// Meddle tries, as the user, all that somebody could do to a session who is
// not its owner, and returns what the API server said to each.
func (c *Cluster) Meddle(ctx context.Context, user *User, session understudy.Session) map[string]error {
	as, err := dynamic.NewForConfig(user.REST())
	if err != nil {
		return map[string]error{"nothing": nil}
	}
	sessions := as.Resource(understudy.Resource).Namespace(session.Namespace)
	patch := func(body string, subresources ...string) error {
		_, err := sessions.Patch(ctx, session.Name, types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
		return err
	}
	leases := as.Resource(leaseResource).Namespace(session.Namespace)
	pods := as.Resource(podResource).Namespace(session.Namespace)
	lease := func() error {
		_, err := leases.Patch(ctx, session.Name, types.MergePatchType, []byte(`{"spec":{"holderIdentity":"somebody"}}`), metav1.PatchOptions{})
		return err
	}
	return map[string]error{
		"deleting it":                sessions.Delete(ctx, session.Name, metav1.DeleteOptions{}),
		"deleting all":               sessions.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
		"changing its spec":          patch(`{"spec":{"leaseDurationSeconds":3600}}`),
		"changing its status":        patch(`{"status":{"record":{"replicas":99}}}`, "status"),
		"taking its finalizer":       patch(`{"metadata":{"finalizers":null}}`),
		"renewing its lease":         lease(),
		"deleting its stand-in":      pods.Delete(ctx, session.Status.Agent.PodName, metav1.DeleteOptions{}),
		"reading its agent's secret": readSecret(ctx, as, session),
	}
}

func readSecret(ctx context.Context, as dynamic.Interface, session understudy.Session) error {
	name := fmt.Sprintf("%s-agent-%d", session.Name, session.Status.Agent.Incarnation)
	_, err := as.Resource(secretResource).Namespace(session.Namespace).Get(ctx, name, metav1.GetOptions{})
	return err
}

// DeleteSession deletes a session as the user.
func (c *Cluster) DeleteSession(ctx context.Context, user *User, session understudy.Session) error {
	as, err := dynamic.NewForConfig(user.REST())
	if err != nil {
		return fmt.Errorf("connecting as %s: %w", user.Name, err)
	}
	err = as.Resource(understudy.Resource).Namespace(session.Namespace).Delete(ctx, session.Name, metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("deleting session %s as %s: %w", session.Name, user.Name, err)
	}
	return nil
}
