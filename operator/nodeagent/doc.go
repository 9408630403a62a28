// Package nodeagent says what runs on a target's node while its container is
// frozen: the pods of the agent that freezes it and of the one that does nothing
// but thaw, and what belongs to them.
//
// It is pure: it makes objects and reads them, and reaches no API server. What
// the agent does on the node is package agent's and package freeze's.
package nodeagent
