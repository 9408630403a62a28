package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "understudy.dev", Version: "v1alpha1"}

// Resource is the plural that the API server serves Sessions under.
var Resource = GroupVersion.WithResource("sessions")

// AddToScheme registers the types of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &Session{}, &SessionList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
