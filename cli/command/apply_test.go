package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// apply makes the objects of a script's YAML with their status, which is
// written as an operator would have. What only the API server can know is
// filled in: the UIDs of a Session's target and of owners, and the Session as the
// owner of the Lease of its name.
func apply(ctx context.Context, config *rest.Config, file string) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, text := range strings.Split(file, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			return err
		}
		kind := object.GroupVersionKind()
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		in := func(resource schema.GroupVersionResource) dynamic.ResourceInterface {
			if object.GetNamespace() == "" {
				return client.Resource(resource)
			}
			return client.Resource(resource).Namespace(object.GetNamespace())
		}
		switch kind.Kind {
		case "Session":
			get := func(field string) string {
				text, _, _ := unstructured.NestedString(object.Object, "spec", "target", field)
				return text
			}
			target, err := in(schema.GroupVersionResource{Group: get("group"), Version: "v1", Resource: get("resource")}).Get(ctx, get("name"), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := unstructured.SetNestedField(object.Object, string(target.GetUID()), "spec", "target", "uid"); err != nil {
				return err
			}
		case "Lease":
			session, err := in(v1alpha1.GroupVersion.WithResource("sessions")).Get(ctx, object.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			object.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session", Name: session.GetName(), UID: session.GetUID(),
			}})
		}
		owners := object.GetOwnerReferences()
		for i := range owners {
			above := schema.FromAPIVersionAndKind(owners[i].APIVersion, owners[i].Kind)
			resource, _ := meta.UnsafeGuessKindToResource(above)
			owner, err := in(resource).Get(ctx, owners[i].Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			owners[i].UID = owner.GetUID()
		}
		object.SetOwnerReferences(owners)
		var made *unstructured.Unstructured
		// A kind that was defined just now takes a moment to be served.
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
			var err error
			made, err = in(plural).Create(ctx, object, metav1.CreateOptions{})
			if strings.Contains(kind.Group, ".") && object.GetNamespace() != "" && apierrors.IsNotFound(err) {
				return false, nil
			}
			return true, err
		})
		if err != nil {
			return fmt.Errorf("making %s %s: %w", kind.Kind, object.GetName(), err)
		}
		if status, ok := object.Object["status"]; ok {
			made.Object["status"] = status
			if _, err := in(plural).UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
				return fmt.Errorf("writing the status of %s %s: %w", kind.Kind, object.GetName(), err)
			}
		}
	}
	return nil
}
