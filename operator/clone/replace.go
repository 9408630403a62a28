package clone

import (
	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/agent/settings"
)

// replace puts the agent in the application's place. Everything that makes the
// container what it is in the cluster stays: name, image, environment, volumes,
// ports, working directory, security context.
func replace(target *corev1.Container) {
	target.Command = []string{settings.Binary, "serve", "--config-dir=" + settings.Directory}
	target.Args = nil
	// These ask the application, which is not there.
	target.LivenessProbe = nil
	target.StartupProbe = nil
	target.Lifecycle = nil
	target.ReadinessProbe = readinessProbe()
	// An agent that ended is started again, whatever the application wanted.
	if !isSidecar(target) {
		target.RestartPolicy = nil
	}
	target.RestartPolicyRules = nil
	target.ResizePolicy = nil
	target.Stdin, target.StdinOnce, target.TTY = false, false, false
	target.VolumeMounts = append(target.VolumeMounts,
		corev1.VolumeMount{Name: binaryVolume, MountPath: settings.BinaryDirectory, ReadOnly: true},
		corev1.VolumeMount{Name: secretVolume, MountPath: settings.Directory, ReadOnly: true},
	)
}

// readinessProbe asks the agent every second. One no is enough to leave the
// Services, but a slow node gets some seconds to answer.
func readinessProbe() *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{
			Command: []string{settings.Binary, "ready", "--config-dir=" + settings.Directory},
		}},
		PeriodSeconds:    1,
		TimeoutSeconds:   5,
		SuccessThreshold: 1,
		FailureThreshold: 1,
	}
}
