// Package cgroup finds the cgroup of one container on this node and freezes it
// through the kernel's own files: cgroup.freeze in version 2, freezer.state in
// version 1. It asks no container runtime, so that it works with any, also one
// that is wedged or has no such call.
//
// A container is found by its ID in the process table, below its pod's UID. Its
// files are opened below the hierarchy's mount, component by component and
// without following a link; nothing that a process of the container can write
// has a say in which cgroup that is.
//
// Nothing here outlives the process that uses it: who thaws when that process
// is killed is the business of the package above.
package cgroup
