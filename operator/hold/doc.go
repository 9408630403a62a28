// Package hold brings a workload to zero replicas and puts it back.
//
// The memory of what to put back is in two places before anything is done: in
// the Session's status (the Record, which the caller writes) and in one
// annotation on the workload (the Claim, which is also the lock: one session
// holds a workload at a time). What to do next is decided by pure functions
// over what was just read (ownership/); the calls that do it are thin and
// conditional on the version that was read (holder.go), so that an outdated
// decision fails with a conflict and is made anew.
//
// What is particular to one kind of workload is behind the interface Workload.
// The package does not know conditions, leases or stand-ins.
package hold

import "understudy.dev/understudy/operator/hold/ownership"

// FieldManager is the name that the operator writes under.
const FieldManager = ownership.Manager
