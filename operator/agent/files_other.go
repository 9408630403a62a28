//go:build !linux

package agent

// remoteFiles are none: an agent runs on Linux.
type remoteFiles struct{}

func newRemoteFiles() *remoteFiles { return &remoteFiles{} }

func (p *pod) readsFiles() bool { return false }
