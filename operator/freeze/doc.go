// Package freeze keeps the containers of one pod frozen for one session, and
// sees to it that they are thawed again, whatever ends.
//
// # What a session does
//
//	hold, err := freeze.Begin(ctx, options)   // the guard runs; nothing is changed
//	... the fence goes up ...
//	err = hold.Freeze(ctx, containers...)     // frozen, the kernel has confirmed it
//	n, err := hold.ReleaseConnections(ctx)    // the broker sees resets
//	err = hold.Renew(lease)                   // as often as the client is heard
//	err = hold.End(ctx)                       // fence down, thawed, seen to run
//
// A container that the kubelet starts in the place of a frozen one is frozen by
// another call of Freeze.
//
// # The nets, in the order in which they catch
//
//  1. The agent itself: End; its own clock at the lease's end.
//  2. The guard (package guard), when the agent has ended by whatever signal,
//     and at the lease's end: within milliseconds.
//  3. The record on the node's disk (package record): the next agent that
//     starts on the node calls Recover.
//  4. The operator, which starts an agent on the node if none is there.
//
// A guard that ends is noticed by the agent and replaced.
//
// # What it does not do
//
// It does not fence, and it does not know Kubernetes: it is told which containers.
package freeze
