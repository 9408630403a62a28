// Package v1alpha1 holds the resource that a session is: one developer's run
// of a local process in the place of a remote workload.
//
// It is one of the two contracts between the command line tool and the
// cluster side (the other is operator/tunnel). The command line tool creates a
// Session and renews the coordination.k8s.io Lease of the same name; the
// operator does everything else and says what it did in conditions.
//
// +kubebuilder:object:generate=true
// +groupName=understudy.dev
package v1alpha1
