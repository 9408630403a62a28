// Package command is the command line: what can be typed, in which order
// things happen then, what is printed and which exit code comes out.
//
// The work itself is in the packages beside it: target (what is meant),
// session (the resource in the cluster), link and the tunnel (the way to the
// stand-in), stage (the place where the local process runs).
package command
