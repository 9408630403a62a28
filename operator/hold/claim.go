package hold

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Claim is the annotation on a workload; its form is a part of the API.
type Claim = v1alpha1.Claim

// ErrClaimUnreadable is wrapped by every error of ParseClaim.
var ErrClaimUnreadable = v1alpha1.ErrClaimUnreadable

// NewClaim makes a claim of now, in the given time.
func NewClaim(workload, session types.UID, name, owner string, replicas int32, now time.Time) Claim {
	return v1alpha1.NewClaim(workload, session, name, owner, replicas, now)
}

// ParseClaim reads an annotation's value.
func ParseClaim(value string) (Claim, error) { return v1alpha1.ParseClaim(value) }
