// Package guard is the dead man's switch of a freeze: a small process beside the
// agent, in cgroups of its own that are in no pod, which undoes what the agent
// has done when the agent is gone, by whatever signal, or when the session's
// lease has run out.
//
//	agent                                        guard
//	  | starts it with one end of a socket         |
//	  | and a pidfd of itself                      |
//	  | moves it out of the pod's cgroups          |
//	  | -- arm: the record, the deadline --------> | opens what it will need
//	  | <------------------------------- armed --- |
//	  |    (only now is anything frozen)           |
//	  | -- until: a later deadline --------------> |
//	  | -- dismiss ------------------------------> | exits, undoes nothing
//
// The guard undoes when the pidfd says that the agent has ended, when the socket
// is closed, and when the deadline has passed with no order waiting that moves it.
// Before it does so at the deadline it says "expired": the agent ends too, whatever
// deadline it goes by itself, and does not freeze again. Signals that it can ignore
// it ignores.
//
// Messages are JSON, one a packet. Both ends are of the same program, so there is
// no version to agree on.
package guard
