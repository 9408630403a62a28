// Package view serves a folder or file of the pod as a file system of the kernel
// (FUSE): what a process in the stage opens below it is read through the agent,
// when it is read. It decides nothing: whose a path is says a Line.
//
// What is written goes to the pod at once, each write a round trip, where the Line
// lets it be written; the rest is read-only. A request takes no longer than the pod may be out of
// reach for (patience), and none outlives the process that waits for it being
// killed: the kernel says so, and the request is answered at once.
package view
