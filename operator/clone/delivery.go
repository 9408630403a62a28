package clone

import (
	"path"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// secretMode lets any user of the container read the session's Secret: the
// image may run as whomever it likes, and no other container has it mounted.
const secretMode int32 = 0o444

// imageBinary is where the agent's image has its program.
var imageBinary = path.Join("/", path.Base(settings.Binary))

// deliver gives the pod the volumes that the agent comes in and, for
// DeliveryInitContainer, the container that copies it.
func deliver(spec *corev1.PodSpec, target *corev1.Container, opts Options) {
	mode := secretMode
	secret := corev1.Volume{Name: secretVolume, VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: opts.SecretName, DefaultMode: &mode},
	}}
	if opts.Delivery == v1alpha1.DeliveryOwnImage {
		spec.Volumes = append(spec.Volumes, secret)
		return
	}
	binary := corev1.Volume{Name: binaryVolume}
	if opts.Delivery == v1alpha1.DeliveryInitContainer {
		binary.EmptyDir = &corev1.EmptyDirVolumeSource{}
		install := installContainer(target.SecurityContext, target.Resources, opts)
		// Before all others: a native sidecar that is replaced starts among them.
		spec.InitContainers = append([]corev1.Container{install}, spec.InitContainers...)
	} else {
		binary.Image = &corev1.ImageVolumeSource{Reference: opts.AgentImage, PullPolicy: opts.AgentPullPolicy}
	}
	spec.Volumes = append(spec.Volumes, binary, secret)
}

// DeliveryOf says how the agent's program gets into a stand-in that was made.
func DeliveryOf(pod *corev1.Pod) v1alpha1.AgentDelivery {
	for i := range pod.Spec.Volumes {
		switch volume := &pod.Spec.Volumes[i]; {
		case volume.Name == binaryVolume && volume.Image != nil:
			return v1alpha1.DeliveryImageVolume
		case volume.Name == binaryVolume:
			return v1alpha1.DeliveryInitContainer
		}
	}
	return v1alpha1.DeliveryOwnImage
}

func installContainer(security *corev1.SecurityContext, resources corev1.ResourceRequirements, opts Options) corev1.Container {
	return corev1.Container{
		Name:            InstallContainer,
		Image:           opts.AgentImage,
		ImagePullPolicy: opts.AgentPullPolicy,
		Command:         []string{imageBinary, "install", settings.BinaryDirectory},
		Resources:       *resources.DeepCopy(),
		VolumeMounts:    []corev1.VolumeMount{{Name: binaryVolume, MountPath: settings.BinaryDirectory}},
		SecurityContext: narrow(security),
	}
}

// narrow gives the target's security context without what only the application
// may need: it passes wherever the target's does, and its user can write what
// the target's can read.
func narrow(security *corev1.SecurityContext) *corev1.SecurityContext {
	narrowed := &corev1.SecurityContext{}
	if security != nil {
		narrowed = security.DeepCopy()
	}
	no, yes := false, true
	narrowed.Privileged = nil
	narrowed.ProcMount = nil
	narrowed.AllowPrivilegeEscalation = &no
	narrowed.ReadOnlyRootFilesystem = &yes
	narrowed.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
	return narrowed
}
