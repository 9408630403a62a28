package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Apply server-side applies every object of the manifest, as the field manager
// given, into the namespace. It does not force: a conflict is an error.
func (c *Cluster) Apply(ctx context.Context, manager, namespace string, manifest []byte) error {
	return c.apply(ctx, namespace, manifest, metav1.PatchOptions{FieldManager: manager})
}

// ApplyForced is Apply by somebody who insists: a conflict is won.
func (c *Cluster) ApplyForced(ctx context.Context, manager, namespace string, manifest []byte) error {
	return c.apply(ctx, namespace, manifest, metav1.PatchOptions{FieldManager: manager, Force: new(true)})
}

func (c *Cluster) apply(ctx context.Context, namespace string, manifest []byte, options metav1.PatchOptions) error {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := documents.Decode(object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a manifest: %w", err)
		}
		if object.Object == nil {
			continue
		}
		kind := object.GroupVersionKind()
		mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", kind.Kind, object.GetName(), err)
		}
		data, err := object.MarshalJSON()
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", kind.Kind, object.GetName(), err)
		}
		_, err = c.Dynamic.Resource(mapping.Resource).Namespace(namespace).
			Patch(ctx, object.GetName(), types.ApplyPatchType, data, options)
		if err != nil {
			return fmt.Errorf("applying %s %s/%s: %w", kind.Kind, namespace, object.GetName(), err)
		}
	}
}
