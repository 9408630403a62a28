// Package solo freezes a pod where no operator does it: with its user's own
// rights, by an agent on the pod's node that this machine makes, follows and ends.
//
// The agent is the operator's own, and holds by itself what it holds there: it
// thaws when its owner is not heard of for the lease, when it is asked to end, when
// it is killed (its guard does) and when it is started again. What an operator adds
// is not there: nobody makes another agent when this one is gone together with its
// guard and its pod, but this machine, as long as the session lasts, and whoever
// comes next.
//
// There is one agent for a pod, because it bears the pod's UID for a name: the pod
// of the agent is the lock. It says whose it is. Where an operator has the pod, or
// another agent elsewhere, the node's own records tell, and this agent does nothing.
package solo
