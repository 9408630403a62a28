package config

import "fmt"

// Pods is what has to be known of a target to say how it can be paused.
type Pods struct {
	// Target as a person names it, for the messages: "deployment/worker".
	Target string
	// Bare: the target is a pod that belongs to no workload.
	Bare bool
	// Running pods of the target, as many as freezing would have to reach.
	Running int
	// Operator says that Understudy is installed in the cluster, and may be used.
	Operator bool
}

// Pause says what the legacy "pause": true, or --pause, comes to for a target:
// TakeoverFreeze where there is exactly one pod, since freezing one of several
// would leave the others reading from the queue; else TakeoverScaleDown, with
// a notice, which takes an operator. The error is a *Problem.
func Pause(pods Pods) (takeover Takeover, notice string, err error) {
	switch {
	case pods.Bare, pods.Running == 1:
		return TakeoverFreeze, "", nil
	case pods.Running < 1:
		return "", "", problem("wait for a pod, or hold the workload with --copy-target --scale-down",
			"%s runs no pod that could be paused", pods.Target)
	case !pods.Operator:
		return "", "", problem("install the operator (helm install understudy charts/understudy) and let it be used (no operator: false): it holds all of them at once; or name a workload with one pod",
			"pausing one of the %d pods of %s would leave the others reading from the queue", pods.Running, pods.Target)
	}
	return TakeoverScaleDown, fmt.Sprintf("%s has %d pods, and freezing one would leave the others reading: they are held at zero and a copy stands in, as with --copy-target --scale-down",
		pods.Target, pods.Running), nil
}

// Freeze says whether a takeover of TakeoverFreeze, asked for outright, can be
// had of a target. The error is a *Problem.
func Freeze(pods Pods) error {
	switch {
	case pods.Bare, pods.Running == 1:
		return nil
	case pods.Running < 1:
		return problem("wait for a pod, or hold the workload with --copy-target --scale-down",
			"%s runs no pod that could be frozen", pods.Target)
	}
	return problem("hold all of them with --copy-target --scale-down (takeover: scale-down), or name one pod that is alone",
		"%s has %d pods, and a freeze holds one: the others would go on reading from the queue", pods.Target, pods.Running)
}
