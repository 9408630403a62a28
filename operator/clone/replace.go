package clone

import (
	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// replace puts the agent in the application's place. Everything that makes the
// container what it is in the cluster stays: name, image, environment, volumes,
// ports, working directory, security context.
func replace(target *corev1.Container, opts Options) {
	program := settings.Binary
	if opts.Delivery == v1alpha1.DeliveryOwnImage {
		program = imageBinary
	}
	target.Command = []string{program, "serve", "--config-dir=" + settings.Directory}
	target.Args = nil
	// These ask the application, which is not there.
	target.LivenessProbe = nil
	target.StartupProbe = nil
	target.Lifecycle = nil
	target.ReadinessProbe = readinessProbe(program)
	// An agent that ended is started again, whatever the application wanted.
	if !isSidecar(target) {
		target.RestartPolicy = nil
	}
	target.RestartPolicyRules = nil
	target.ResizePolicy = nil
	target.Stdin, target.StdinOnce, target.TTY = false, false, false
	if opts.Delivery != v1alpha1.DeliveryOwnImage {
		target.VolumeMounts = append(target.VolumeMounts, corev1.VolumeMount{Name: binaryVolume, MountPath: settings.BinaryDirectory, ReadOnly: true})
	}
	target.VolumeMounts = append(target.VolumeMounts, corev1.VolumeMount{Name: secretVolume, MountPath: settings.Directory, ReadOnly: true})
}

// readinessProbe asks the agent every second. One no is enough to leave the
// Services, but a slow node gets some seconds to answer.
func readinessProbe(program string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{
			Command: []string{program, "ready", "--config-dir=" + settings.Directory},
		}},
		PeriodSeconds:    1,
		TimeoutSeconds:   5,
		SuccessThreshold: 1,
		FailureThreshold: 1,
	}
}
