package command

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// TestRenewals: what is said of a lease that cannot be renewed depends on why,
// and the end of a session is not an outage.
func TestRenewals(t *testing.T) {
	leases := v1alpha1.GroupVersion.WithResource("leases").GroupResource()
	for name, tc := range map[string]struct {
		err        error
		lost, back string
	}{
		"a network":        {errors.New("no route to host"), "the API server cannot be reached (no route to host); trying again", "the lease is renewed again, after"},
		"a server":         {apierrors.NewInternalError(errors.New("etcd")), "the API server does not renew the lease (Internal error occurred: etcd); trying again", "renewed again"},
		"credentials":      {errors.New(noCredentials + "exec: plugin failed"), "sign in again in another terminal, before the lease of 1m0s has run out", "renewed again"},
		"the session ends": {apierrors.NewNotFound(leases, "worker-x"), "", ""},
		"its rights too":   {apierrors.NewForbidden(leases, "worker-x", errors.New("no")), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			p := &performance{
				opts: &ExecOptions{Config: &config.Config{Lease: time.Minute}}, out: progress.New(&out, progress.Options{}),
				follow: (&session.Client{}).Follow(&v1alpha1.Session{}),
			}
			p.renewals(false, tc.err)
			if got := out.String(); !strings.Contains(got, tc.lost) || (tc.lost == "") != (got == "") {
				t.Errorf("it said %q", got)
			}
			out.Reset()
			p.renewals(true, nil)
			if got := out.String(); !strings.Contains(got, tc.back) || (tc.back == "") != (got == "") {
				t.Errorf("afterwards it said %q", got)
			}
		})
	}
}

// TestCutOff: a gap within the lease, and a night's sleep.
func TestCutOff(t *testing.T) {
	for silence, want := range map[time.Duration]string{
		47200 * time.Millisecond: "this machine has not reached the API server for 47s, and the lease is 1m0s: the local process is ended before the cluster's own comes back",
		8 * time.Hour:            "this machine was away for 8h0m0s, longer than the lease of 1m0s: to the cluster the session is over, and the local process is ended",
	} {
		if err := cutOff(silence, time.Minute); err.Error() != want || failure.Hint(err) == "" {
			t.Errorf("%s: %v", silence, err)
		}
	}
}

// TestOwnSession: somebody whose last run was cut off is not sent to an
// administrator.
func TestOwnSession(t *testing.T) {
	other := &v1alpha1.Session{}
	other.Name, other.Namespace = "worker-x", "shop"
	other.Spec.LeaseDurationSeconds = 90
	other.Spec.Owner.Hostname = "laptop"
	for here, where := range map[string]string{"laptop": "that is you, on this machine: ", "desktop": "that is you, on laptop: "} {
		hint := ownSession(other, here)
		if !strings.HasPrefix(hint, where) || !strings.Contains(hint, "1m30s after") || !strings.HasSuffix(hint, "understudy end worker-x -n shop") {
			t.Errorf("on %s: %s", here, hint)
		}
	}
}
