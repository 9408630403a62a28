//go:build linux

package netstack

import (
	"fmt"

	"gvisor.dev/gvisor/pkg/tcpip"

	"understudy.dev/understudy/operator/tunnel"
)

// connectStarted is how the stack calls EINPROGRESS.
var connectStarted = (&tcpip.ErrConnectStarted{}).String()

func dialError(failed tcpip.Error) error {
	switch failed.(type) {
	case *tcpip.ErrConnectionRefused:
		return tunnel.ErrRefused
	case *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable:
		return tunnel.ErrUnreachable
	case *tcpip.ErrTimeout:
		return tunnel.ErrTimeout
	}
	return fmt.Errorf("dialing into the stage: %s", failed)
}
