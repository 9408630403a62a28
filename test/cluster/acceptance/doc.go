// Package acceptance tests the cluster as its users see it: one is brought up,
// crashed, used and taken down, beside any other that runs on the machine.
package acceptance
