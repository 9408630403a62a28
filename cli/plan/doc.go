// Package plan says what a session would do and what stands against it, before
// anything is made.
//
// It is in two halves. Look reads, as the user and without changing anything,
// what is around a target into a World; what the user may not read is noted as
// such and never a failure. Make is pure: it lets every check look at that world,
// and says in steps what would happen. A check is one small function in a file
// of its own.
//
// What it says is what the operator would do, because it asks what the operator
// asks: clone for the stand-in, standing for the workload, fence/plan for a pod
// that is to be frozen.
package plan
