package clone

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// TokenDir is where the API server's admission mounts the service account's
// token, when neither the pod nor the service account opts out.
const TokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// secretsStoreDriver is the CSI driver whose inline volumes hold secrets from
// an external store, as files that are read like a Secret's.
const secretsStoreDriver = "secrets-store.csi.k8s.io"

// Mount is one mounted volume of the replaced container whose content the
// owner's end keeps a copy of.
type Mount struct {
	// Path in the container, clean.
	Path string
	// SubPath says that only a part of the volume is mounted, mostly a single
	// file.
	SubPath bool
	// Optional says that the mount may be missing in the pod that runs: the
	// token, which the service account may have opted out of.
	Optional bool
}

// Mounts lists the mounts of config maps, secrets, downward API and projected
// volumes of one container, and that of the injected token, by path. Volumes
// with data of the application's own are not copied.
func Mounts(spec *corev1.PodSpec, container string) []Mount {
	target := findContainer(spec, container)
	if target == nil {
		return nil
	}
	copied := map[string]bool{}
	for _, volume := range spec.Volumes {
		copied[volume.Name] = isCopied(volume.VolumeSource)
	}
	var mounts []Mount
	token := spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken
	for _, mount := range target.VolumeMounts {
		clean := cleanPath(mount.MountPath)
		if clean == TokenDir {
			token = false
		}
		if copied[mount.Name] && !isOwnPath(clean) {
			mounts = append(mounts, Mount{Path: clean, SubPath: mount.SubPath != "" || mount.SubPathExpr != ""})
		}
	}
	if token {
		mounts = append(mounts, Mount{Path: TokenDir, Optional: true})
	}
	slices.SortFunc(mounts, func(a, b Mount) int { return strings.Compare(a.Path, b.Path) })
	return mounts
}

// Paths gives the mounts' paths, for the agent's configuration.
func Paths(mounts []Mount) []string {
	paths := make([]string, 0, len(mounts))
	for _, mount := range mounts {
		paths = append(paths, mount.Path)
	}
	return paths
}

func isCopied(source corev1.VolumeSource) bool {
	return source.ConfigMap != nil || source.Secret != nil || source.DownwardAPI != nil || source.Projected != nil ||
		source.CSI != nil && source.CSI.Driver == secretsStoreDriver
}

func isOwnPath(clean string) bool {
	return clean == ownDir || strings.HasPrefix(clean, ownDir+"/")
}

// cleanPath gives a mount path as the container sees it: absolute, clean.
func cleanPath(mountPath string) string {
	return path.Clean("/" + mountPath)
}
