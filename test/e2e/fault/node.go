package fault

import (
	"context"

	"understudy.dev/understudy/test/e2e/cluster"
)

// RestartOnNode kills one of a node's own programs ("kubelet", "containerd") and
// starts it again; it returns when the program is ready.
func RestartOnNode(ctx context.Context, c *cluster.Cluster, node, program string) error {
	return control(ctx, c, "restart", "--kill", node+"/"+program)
}
