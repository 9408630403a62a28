package nodeagent

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Everything of one session in the agents' namespace is named for the session's
// UID: sessions of several namespaces may have one name.
const (
	namePrefix = "freeze-"
	lockPrefix = "pod-"
)

// Name is what a session's grant in the agents' namespace is called, and what
// the names of its pods and keys begin with.
func Name(session types.UID) string { return namePrefix + string(session) }

// PodName is the agent's of that number, counted from 1; a number serves one
// pod, the agent that freezes or one that only thaws.
func PodName(session types.UID, number int32) string {
	return fmt.Sprintf("%s-%d", Name(session), number)
}

// SecretName is the key's of the agent of that number.
func SecretName(session types.UID, number int32) string { return PodName(session, number) }

// LockName is the Lease's that one session at a time has on a pod.
func LockName(pod types.UID) string { return lockPrefix + string(pod) }

// IsLock says whether a Lease of the agents' namespace is a lock.
func IsLock(name string) bool { return strings.HasPrefix(name, lockPrefix) }

// NodeUID is what a pod's cgroups and folders on its node are named for: a static pod's
// for the hash of its configuration, as its UID is that of the mirror which the kubelet
// makes of it. All that is in the API goes by the pod's UID.
//
// Of the two annotations that have the hash this is the one that nobody can add to a
// pod which runs: by the other a pod could name another's cgroups as its own.
func NodeUID(pod *corev1.Pod) types.UID {
	return types.UID(cmp.Or(pod.Annotations[corev1.MirrorPodAnnotationKey], string(pod.UID)))
}

// Labels are how what stands in the agents' namespace belongs to a session: an
// owner reference does not reach from one namespace into another.
func Labels(session *v1alpha1.Session) map[string]string {
	return LabelsOf(session.Namespace, session.Name, session.UID)
}

// LabelsOf are the labels of a session that may be gone.
func LabelsOf(namespace, name string, uid types.UID) map[string]string {
	return map[string]string{
		v1alpha1.SessionLabel:          name,
		v1alpha1.SessionNamespaceLabel: namespace,
		v1alpha1.SessionUIDLabel:       string(uid),
	}
}

// SessionOf is the session that an object of the agents' namespace belongs to.
func SessionOf(object metav1.Object) (key types.NamespacedName, uid types.UID, ok bool) {
	labels := object.GetLabels()
	key = types.NamespacedName{Namespace: labels[v1alpha1.SessionNamespaceLabel], Name: labels[v1alpha1.SessionLabel]}
	uid = types.UID(labels[v1alpha1.SessionUIDLabel])
	return key, uid, key.Namespace != "" && key.Name != "" && uid != ""
}
