// Package freezetest is what the tests of a freeze need of the kernel: the cgroups
// of a pod, and real processes in it whose every step can be seen.
//
// The processes are the test's own binary, run again: a TestMain hands over to
// Main.
package freezetest
