package freeze

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/record"
)

// What a consumer is told.
const (
	brokerVariable = "FREEZE_TEST_BROKER" // the address that it connects to
	readVariable   = "FREEZE_TEST_READ"   // the file in which it says how many bytes it has read
)

// consumer reads its one connection, says how much once that is at its end, and
// counts its life.
func consumer(count func()) error {
	conn, err := net.Dial("tcp", os.Getenv(brokerVariable))
	if err != nil {
		return err
	}
	count()
	read, _ := io.Copy(io.Discard, conn)
	if err := os.WriteFile(os.Getenv(readVariable), strconv.AppendInt(nil, read, 10), 0o600); err != nil {
		return err
	}
	for ; ; count() {
		time.Sleep(time.Millisecond)
	}
}

// A container that is to end runs again, without the connections that it was let
// keep, and is not frozen again by itself; the hold goes on, and can take it back.
func TestLetEnd(t *testing.T) {
	freezetest.NeedRoot(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	pod := freezetest.NewPod(t, 2)
	read := filepath.Join(t.TempDir(), "read")
	app := pod.Start("consumer", pod.Dirs, brokerVariable+"="+listener.Addr().String(), readVariable+"="+read)
	broker, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	t.Setenv(stateVariable, t.TempDir())
	dir := record.Dir(t.TempDir())
	hold, err := Begin(t.Context(), Options{Session: session, Pod: "shop/worker-1", PodUID: pod.UID, Lease: time.Minute, Directory: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer hold.End(t.Context())
	c := cgroup.Container{PodUID: pod.UID, ID: pod.ID}
	if err := hold.Freeze(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(broker, strings.Repeat("m", 100)); err != nil {
		t.Fatal(err)
	}
	pod.Still(app)

	if err := hold.LetEnd(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := broker.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the broker reads %v, not a reset", err)
	}
	pod.Moves(app)
	if said, err := os.ReadFile(read); err != nil || string(said) != "0" {
		t.Errorf("of the messages that came while it was frozen the consumer has read %s, %v", said, err)
	}
	if records, err := dir.List(); err != nil || len(records) != 1 || len(records[0].Frozen) != 0 {
		t.Errorf("recorded is %+v, %v", records, err)
	}
	if err := hold.Err(); err != nil {
		t.Errorf("the hold has ended: %v", err)
	}

	if err := hold.Freeze(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	pod.Still(app)
	// Thawed by somebody else it is frozen again: it is held as any other is.
	freezetest.Put(filepath.Join(pod.Dirs[2], "cgroup.freeze"), "0")
	freezetest.Until(t, "it is frozen again", func() bool {
		data, err := os.ReadFile(filepath.Join(pod.Dirs[2], "cgroup.events"))
		return err == nil && strings.Contains(string(data), "frozen 1")
	})
	if err := hold.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod.Moves(app)
}
