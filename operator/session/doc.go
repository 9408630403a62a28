// Package session is the reconciler of Sessions.
//
// It is two lists of small steps, one file each. The first sets a session up
// and keeps it: limits, policy, resolve, enlist (finalizer), record, claim,
// keep (a hold that was begun), lease, stand-in, take (the hold), old pods,
// ready. The second undoes it: unready, dismiss (the stand-in), restore,
// retire. Which list runs is read off the Session: it is undone once it was
// deleted or its Ready condition has a final reason.
//
// A session that freezes has two lists of its own (freeze.go), of the same
// kind: limits, policy, target pod, enlist, record pod, lock, lease, node
// agent, ready; and unready, thaw, retire.
//
// A session without a target has the first list without what looks at a
// workload (targetless.go).
//
// Every reconciliation reads the Session and its workload anew from the API
// server and walks the whole list; a step that finds its work done costs
// nothing. No step remembers anything: whatever must survive is in the
// Session's status, saved and acknowledged before the act that it is about, by
// an update that fails if anybody else has written it. What is kept in memory
// (the silence of owners, the last sight of deleted pods) only sharpens
// judgement: without it the answer is later or more careful, never wrong.
package session
