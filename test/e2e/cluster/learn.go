package cluster

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Learn waits until the API server serves a kind that was not there when the
// connection was made.
func (c *Cluster) Learn(ctx context.Context, kind schema.GroupKind) error {
	return Until(ctx, func(context.Context) error {
		c.mapper.Reset()
		_, err := c.mapper.RESTMapping(kind)
		return err
	})
}
