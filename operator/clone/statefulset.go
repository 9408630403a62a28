package clone

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FromStatefulSet takes the template of a StatefulSet with what makes its first
// replica what it is: that replica's claims, its host name under the set's
// Service, and the labels by which it is selected alone. Where the numbers begin
// is spec.ordinals.start.
//
// The claims are the replica's own, not copies: the stand-in sees the data that
// the application left, and a claim that only one pod or node can mount makes a
// conflict (see Report).
func FromStatefulSet(set *appsv1.StatefulSet) Source {
	source := FromTemplate(set.Namespace, set.Spec.Template)
	ordinal := int32(0)
	if set.Spec.Ordinals != nil {
		ordinal = set.Spec.Ordinals.Start
	}
	replica := fmt.Sprintf("%s-%d", set.Name, ordinal)
	template := &source.template
	metav1.SetMetaDataLabel(&template.ObjectMeta, appsv1.StatefulSetPodNameLabel, replica)
	metav1.SetMetaDataLabel(&template.ObjectMeta, appsv1.PodIndexLabel, fmt.Sprint(ordinal))
	template.Spec.Hostname = replica
	template.Spec.Subdomain = set.Spec.ServiceName
	for _, claim := range set.Spec.VolumeClaimTemplates {
		volumes := slices.DeleteFunc(template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == claim.Name })
		template.Spec.Volumes = append(volumes, corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-" + replica},
		}})
	}
	return source
}
