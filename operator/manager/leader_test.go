package manager

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/apitest"
)

// clientOf knows every type that the operator does.
func clientOf(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A container that was killed leaves its lease held. Started again in the same
// pod it leads at once; another pod's waits until the lease has run out, and two
// processes outside of a cluster are never taken for one another.
func TestLeaderIdentity(t *testing.T) {
	config := apitest.Config(t)
	c := clientOf(t, config)
	for name, next := range map[string]struct {
		first, second string
		atOnce        bool
	}{
		"the same pod":         {"pod-1", "pod-1", true},
		"another pod":          {"pod-1", "pod-2", false},
		"outside of a cluster": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "leader-"}}
			if err := c.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			lead := func(identity string) (time.Duration, func()) {
				lock, err := leaderLock(config, Options{LeaderElect: true, Namespace: namespace.Name, LeaderIdentity: identity})
				if err != nil {
					t.Fatal(err)
				}
				leads := make(chan struct{})
				elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
					Lock: lock, LeaseDuration: leaderDuration, RenewDeadline: leaderDeadline, RetryPeriod: leaderRetry,
					Callbacks: leaderelection.LeaderCallbacks{
						OnStartedLeading: func(context.Context) { close(leads) }, OnStoppedLeading: func() {},
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
				done := make(chan struct{})
				began := time.Now()
				go func() { defer close(done); elector.Run(ctx) }()
				select {
				case <-leads:
				case <-time.After(time.Minute):
					t.Error("it never leads")
				}
				return time.Since(began), func() { cancel(); <-done }
			}
			_, kill := lead(next.first)
			kill()
			lease := &coordinationv1.Lease{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace.Name, Name: Name}, lease); err != nil {
				t.Fatal(err)
			}
			if *lease.Spec.HolderIdentity == "" {
				t.Fatal("the lease was released, which a killed process does not do")
			}
			took, kill := lead(next.second)
			kill()
			// From the first sight of the lease a stranger waits for its whole
			// length, however slow the machine is.
			if waited := took >= leaderDuration; waited == next.atOnce {
				t.Errorf("it led after %s", took)
			}
		})
	}
}
