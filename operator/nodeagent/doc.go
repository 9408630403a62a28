// Package nodeagent says what runs on a target's node while its container is
// frozen: whether the pod can be frozen at all, and the pods of the agent that
// freezes it and of the one that does nothing but thaw.
//
// It is pure: it makes objects and judges them, and reaches no API server. What
// the agent does on the node is package agent's and package freeze's.
package nodeagent
