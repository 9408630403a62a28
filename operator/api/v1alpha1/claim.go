package v1alpha1

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Claim is what the annotation understudy.dev/claim on a workload says: who
// holds it and what it was. It is one JSON object, and with it a workload can be
// put back by whoever reads it, without a Session and without an operator.
// +kubebuilder:object:generate=false
type Claim struct {
	// Workload is the UID of the object that was claimed. The deployment
	// controller copies annotations to ReplicaSets and `rollout undo` brings
	// them back, so a claim on an object of another UID means nothing.
	Workload types.UID `json:"workload"`
	// Session is the UID of the session that claimed it.
	Session types.UID `json:"session"`
	// Name of that session, in the workload's namespace.
	Name string `json:"name"`
	// Owner is the username of that session's owner.
	Owner string `json:"owner"`
	// Since is when it was claimed, in RFC 3339.
	Since string `json:"since"`
	// Replicas to put back.
	Replicas int32 `json:"replicas"`
	// Digest is the SHA-256, in lower-case hex, of the same JSON with an empty
	// digest. It tells a damaged memory from a good one; it is no signature.
	Digest string `json:"digest"`
}

// ErrClaimUnreadable is wrapped by every error of ParseClaim. Nothing may be
// guessed from a claim that cannot be read.
var ErrClaimUnreadable = errors.New("the claim on the workload cannot be read")

// NewClaim makes a claim of now, in the given time.
func NewClaim(workload, session types.UID, name, owner string, replicas int32, now time.Time) Claim {
	return Claim{Workload: workload, Session: session, Name: name, Owner: owner, Since: now.UTC().Format(time.RFC3339), Replicas: replicas}
}

// String is the annotation's value: the claim with its digest.
func (c Claim) String() string {
	c.Digest = c.digest()
	return writeMemory(c)
}

func (c Claim) digest() string {
	c.Digest = ""
	return digestMemory(c)
}

// ParseClaim reads an annotation's value. Every error wraps ErrClaimUnreadable.
func ParseClaim(value string) (Claim, error) {
	var c Claim
	if err := readMemory(value, &c, ErrClaimUnreadable); err != nil {
		return Claim{}, err
	}
	switch {
	case c.Digest != c.digest():
		return Claim{}, fmt.Errorf("%w: its digest does not match", ErrClaimUnreadable)
	case c.Workload == "" || c.Session == "" || c.Name == "":
		return Claim{}, fmt.Errorf("%w: it names no workload or no session", ErrClaimUnreadable)
	case c.Replicas < 0:
		return Claim{}, fmt.Errorf("%w: %d replicas", ErrClaimUnreadable, c.Replicas)
	}
	return c, nil
}
