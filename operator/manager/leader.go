package manager

import (
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Short enough that the work of an operator whose node is gone is taken up
// within seconds; one that stops in order releases the lease at once.
const (
	leaderDuration = 6 * time.Second
	leaderDeadline = 4 * time.Second
	leaderRetry    = time.Second
)

// leaderLock is the lease that operators agree by on who is active; nil where
// they do not.
//
// The identity is the pod's name where it is known, not one per process: a
// container that was killed is started again in the same pod, finds its own
// name on the lease, and goes on without waiting for the lease to run out. The
// kubelet never runs two containers of that name in one pod at once. Outside of
// a pod nobody sees to that, so there the identity is unique.
func leaderLock(config *rest.Config, options Options) (resourcelock.Interface, error) {
	if !options.LeaderElect {
		return nil, nil
	}
	identity := options.LeaderIdentity
	if identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("finding an identity for leader election: %w", err)
		}
		identity = host + "_" + string(uuid.NewUUID())
	}
	config = rest.AddUserAgent(rest.CopyConfig(config), "leader-election")
	// A single request that hangs must not cost the lead.
	config.Timeout = leaderDeadline / 2
	leases, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for leader election: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: options.Namespace, Name: Name},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, nil
}
