// Package clone makes the stand-in: the pod that is the target's pod in
// everything but the one container in which the agent takes the application's
// place.
//
// It is pure: it reads what it is given, changes none of it, asks no server
// and no clock, and gives the same pod for the same input. What can only be
// known in the cluster (whether an image volume is taken, whether the pod fits
// beside the old ones) is decided by its caller, who is told in a Report what
// to expect.
package clone
