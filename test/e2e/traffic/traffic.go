// Package traffic is what goes over a connection that is measured, and both
// ends of it: a server that acknowledges, echoes, swallows and pours, and the
// measurements that are taken against it over any net.Conn. It says nothing of
// what the connection runs through.
//
// The server speaks first: one byte, which is how whoever connects knows that
// the far end itself has accepted. The client then sends one byte that says
// what the connection is for, and 8 bytes with a length, big endian:
//
//	'e'  every byte comes back, as soon as it is there
//	'u'  length bytes come up; one byte acknowledges the last of them
//	'd'  length bytes go down
package traffic

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Port is the one that the server listens on in the cluster.
const Port = 9500

const (
	echo = 'e'
	up   = 'u'
	down = 'd'
)

// acknowledged is the byte that the far end answers with.
const acknowledged = '!'

// chunk is what one write or read handles of a bulk stream: what io.Copy and
// most applications use, or a little more.
const chunk = 64 << 10

// Serve answers the listener's connections until it is closed.
func Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a connection: %w", err)
		}
		go func() {
			defer conn.Close()
			serve(conn) //nolint:errcheck // the client sees that it ended
		}()
	}
}

func serve(conn net.Conn) error {
	if _, err := conn.Write([]byte{acknowledged}); err != nil {
		return err
	}
	var header [9]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return err
	}
	length := int64(binary.BigEndian.Uint64(header[1:]))
	switch header[0] {
	case echo:
		_, err := io.CopyBuffer(plain{conn}, plain{conn}, make([]byte, chunk))
		return err
	case up:
		if _, err := io.CopyBuffer(io.Discard, io.LimitReader(conn, length), make([]byte, chunk)); err != nil {
			return err
		}
		_, err := conn.Write([]byte{acknowledged})
		return err
	case down:
		out := bufio.NewWriterSize(conn, chunk)
		if _, err := io.CopyN(out, zeros{}, length); err != nil {
			return err
		}
		return out.Flush()
	}
	return fmt.Errorf("reading what a connection is for: there is no %q", header[0])
}

// plain hides the short cuts that a connection knows, so that the bytes come
// through this process as they would through an application.
type plain struct{ io.ReadWriter }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
