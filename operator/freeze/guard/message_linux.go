package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/record"
)

// order is what the agent says.
type order struct {
	// Dir and Record arm the guard, or arm it anew: what was recorded before is
	// replaced.
	Dir    record.Dir     `json:"dir,omitempty"`
	Record *record.Record `json:"record,omitempty"`
	// Until is the deadline on the clock of Now; 0 leaves it as it is.
	Until time.Duration `json:"until,omitempty"`
	// Dismiss ends the guard; nothing is undone.
	Dismiss bool `json:"dismiss,omitempty"`
}

// answer is what the guard says: to each order that arms, and of itself when the
// deadline has passed.
type answer struct {
	Armed   bool   `json:"armed,omitempty"`
	Error   string `json:"error,omitempty"`
	Expired bool   `json:"expired,omitempty"`
}

// maxMessage bounds a message. A record of a hundred containers is 30 KiB.
const maxMessage = 128 << 10

func send(conn *os.File, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(data))
	}
	_, err = conn.Write(data)
	return err
}

// receive reads one message; io.EOF when the other end is closed.
func receive(conn *os.File, message any) error {
	buffer := make([]byte, maxMessage)
	n, err := conn.Read(buffer)
	if errors.Is(err, unix.ECONNRESET) {
		err = io.EOF
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(buffer[:n], message)
}

// receiveNow is as receive, and does not wait: ok is false where nothing is there.
func receiveNow(fd int, message any) (ok bool, err error) {
	buffer := make([]byte, maxMessage)
	n, _, err := unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		return false, io.EOF
	}
	return true, json.Unmarshal(buffer[:n], message)
}

// Now is the clock of deadlines. It goes on while the machine sleeps, and nobody
// can set it.
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("reading CLOCK_BOOTTIME: %v", err)) // there is no such kernel
	}
	return time.Duration(t.Nano())
}
