//go:build !unix

package tunnel

import "errors"

// readDescriptor is not to be had here: neither end of a tunnel that carries
// connections runs on this system.
func readDescriptor(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
