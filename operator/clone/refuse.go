package clone

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// RefusedError says that a target cannot be stood in for as asked, and what to
// do about it. It is final: asking again gives the same.
type RefusedError struct {
	// Reason is one of the Session's condition reasons.
	Reason string
	// Message is a sentence for the owner.
	Message string
}

func (e *RefusedError) Error() string { return e.Message }

func refuse(reason, format string, args ...any) error {
	return &RefusedError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// checkPod refuses pods that no stand-in can be made of.
func checkPod(spec *corev1.PodSpec, opts Options) error {
	if isWindows(spec) {
		return refuse(v1alpha1.ReasonTargetUnsupported,
			"the target's pods run on Windows, where the agent does not: name a target that runs on Linux")
	}
	if spec.HostNetwork && !opts.AllowHostNetwork {
		return refuse(v1alpha1.ReasonTargetUnsupported,
			"the target's pods use the node's own network (hostNetwork), where a stand-in would open its ports on the node: "+
				"name a target without hostNetwork")
	}
	for _, volume := range spec.Volumes {
		if volume.Name == binaryVolume || volume.Name == secretVolume {
			return refuseOwn("volume " + volume.Name)
		}
	}
	for container := range everyContainer(spec) {
		if container.Name == InstallContainer {
			return refuseOwn("container " + container.Name)
		}
		for _, mount := range container.VolumeMounts {
			if isOwnPath(cleanPath(mount.MountPath)) {
				return refuseOwn("mount " + mount.MountPath)
			}
		}
	}
	return nil
}

func refuseOwn(what string) error {
	return refuse(v1alpha1.ReasonTargetUnsupported,
		"the target's pods have a %s, as only a stand-in has: name the workload, not a session's stand-in", what)
}

func isWindows(spec *corev1.PodSpec) bool {
	return spec.OS != nil && spec.OS.Name == corev1.Windows ||
		spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows) ||
		spec.SecurityContext != nil && spec.SecurityContext.WindowsOptions != nil
}
