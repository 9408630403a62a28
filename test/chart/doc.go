// Package chart tests the Helm chart understudy: what it renders for which
// values, and, on a real API server with the chart installed by the real Helm,
// whether its admission policies let through and refuse what they should.
//
// It needs the programs helm, etcd, kube-apiserver and kube-controller-manager:
// in the folder KUBEBUILDER_ASSETS, in the cache of the test cluster, or (helm)
// on the PATH. Where the variable is unset and nothing is found the tests are
// skipped; where it is set they fail.
//
// There is no node here: whether an uninstall with its hooks ends an open
// session is tested on the real cluster.
package chart
