// Package agent is the program at the far end of the tunnel. In a stand-in it
// runs as the replaced container, with that container's identity and nothing
// more: it dials from the pod's network, opens the ports that the application
// would have opened, and hands over the container's environment and mounted
// files.
//
// It assumes nothing of the image that it runs in: no shell, no passwd entry,
// no writable root, no /tmp. It knows nothing of Kubernetes' API, and it does
// not decide when a session is over: when it does not hear from its owner for
// the length of the lease it closes all that is open, and waits to be connected
// to again.
package agent
