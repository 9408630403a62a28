// Package doctor looks at what a session needs, of this machine and of the
// cluster, and says of each thing that is wrong what to do about it. It changes
// nothing.
package doctor

// State is how bad a Finding is.
type State string

const (
	// OK: as it has to be.
	OK State = "ok"
	// Warning: a session works, but less well.
	Warning State = "warning"
	// Problem: no session works.
	Problem State = "problem"
	// Unknown: this user, or this machine, cannot tell.
	Unknown State = "unknown"
)

// Finding is one thing that was looked at.
type Finding struct {
	// Of is what was looked at: "user namespaces".
	Of    string `json:"of"`
	State State  `json:"state"`
	// Says is what was found, Do what to do about it; Do is empty where there is
	// nothing to be done.
	Says string `json:"says"`
	Do   string `json:"do,omitempty"`
}
