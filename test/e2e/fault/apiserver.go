package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"understudy.dev/understudy/test/e2e/cluster"
)

// KillAPIServer kills the API server as a crash would. It stays down until
// StartAPIServer.
func KillAPIServer(ctx context.Context, c *cluster.Cluster) error {
	return control(ctx, c, "stop", "--kill", "apiserver")
}

// StartAPIServer starts the API server and waits until it is ready.
func StartAPIServer(ctx context.Context, c *cluster.Cluster) error {
	return control(ctx, c, "start", "apiserver")
}

// RestartEtcd kills the API server's store as a crash would, and starts it again.
func RestartEtcd(ctx context.Context, c *cluster.Cluster) error {
	return control(ctx, c, "restart", "--kill", "etcd")
}

// RestartControllers starts the controller manager again, as it does itself in
// a cluster where it loses its leadership during an outage; this one has no
// other to lose it to, and would find back by ever longer breaks.
func RestartControllers(ctx context.Context, c *cluster.Cluster) error {
	return control(ctx, c, "restart", "--kill", "controller-manager")
}

// control runs the tool of test/cluster, which the Makefile has built.
func control(ctx context.Context, c *cluster.Cluster, args ...string) error {
	if !c.Own {
		return ErrElsewhere
	}
	tool := os.Getenv("E2E_CLUSTER_TOOL")
	if tool == "" {
		return errors.New("E2E_CLUSTER_TOOL names no program: run this by `make e2e`")
	}
	if out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("asking the test cluster to %v: %w: %s", args, err, out)
	}
	return nil
}
