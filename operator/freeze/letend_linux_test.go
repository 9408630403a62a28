package freeze

import (
	"context"
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
	"understudy.dev/understudy/operator/freeze/connection"
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

// letEnd is a container whose consumer has 100 unread bytes of a broker's, and a hold
// on it.
type letEnd struct {
	*freezetest.Pod
	app    *freezetest.Process
	hold   *Hold
	dir    record.Dir
	c      cgroup.Container
	broker net.Conn
	read   string
}

func newLetEnd(t *testing.T) *letEnd {
	freezetest.NeedRoot(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := &letEnd{Pod: freezetest.NewPod(t, 2), dir: record.Dir(t.TempDir()), read: filepath.Join(t.TempDir(), "read")}
	s.app = s.Start("consumer", s.Dirs, brokerVariable+"="+listener.Addr().String(), readVariable+"="+s.read)
	if s.broker, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.broker.Close() })
	t.Setenv(stateVariable, t.TempDir())
	s.hold, err = Begin(t.Context(), Options{Session: session, Pod: "shop/worker-1", PodUID: s.UID, Lease: time.Minute, Directory: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.hold.End(context.WithoutCancel(t.Context())) })
	s.c = cgroup.Container{PodUID: s.UID, ID: s.ID}
	if err := s.hold.Freeze(t.Context(), s.c); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s.broker, strings.Repeat("m", 100)); err != nil {
		t.Fatal(err)
	}
	s.Still(s.app)
	return s
}

// isReset checks that the broker sees its connection end.
func (s *letEnd) isReset(t *testing.T) {
	t.Helper()
	if err := s.broker.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.broker.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the broker reads %v, not a reset", err)
	}
}

// A container that is to end runs again, without the connections that it was let
// keep, and is not frozen again by itself; the hold goes on, and can take it back.
func TestLetEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(*testing.T, *letEnd)
	}{
		{"with its connections", func(*testing.T, *letEnd) {}},
		{"without its connections", func(t *testing.T, s *letEnd) {
			if ended, err := s.hold.ReleaseConnections(t.Context()); err != nil || ended != 1 {
				t.Errorf("ReleaseConnections() = %d, %v", ended, err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newLetEnd(t)
			test.before(t, s)
			if err := s.hold.LetEnd(t.Context(), s.c, false); err != nil {
				t.Fatal(err)
			}
			s.isReset(t)
			s.Moves(s.app)
			if said, err := os.ReadFile(s.read); err != nil || string(said) != "0" {
				t.Errorf("of the messages that came while it was frozen the consumer has read %s, %v", said, err)
			}
			if records, err := s.dir.List(); err != nil || len(records) != 1 || len(records[0].Frozen) != 0 {
				t.Errorf("recorded is %+v, %v", records, err)
			}
			if err := s.hold.Err(); err != nil {
				t.Errorf("the hold has ended: %v", err)
			}

			if err := s.hold.Freeze(t.Context(), s.c); err != nil {
				t.Fatal(err)
			}
			s.Still(s.app)
			// Thawed by somebody else it is frozen again: it is held as any other is.
			freezetest.Put(filepath.Join(s.Dirs[2], "cgroup.freeze"), "0")
			freezetest.Until(t, "it is frozen again", func() bool {
				data, err := os.ReadFile(filepath.Join(s.Dirs[2], "cgroup.events"))
				return err == nil && strings.Contains(string(data), "frozen 1")
			})
			if err := s.hold.End(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Moves(s.app)
		})
	}
}

// Where what it has not read cannot be taken from it, it stays frozen until it is
// killed, and is held as before.
func TestLetEndRefused(t *testing.T) {
	s := newLetEnd(t)
	if _, err := s.hold.ReleaseConnections(t.Context()); err != nil {
		t.Error(err)
	}
	let := func(killed bool) error {
		return freezetest.Without(unix.SYS_PIDFD_GETFD, unix.EPERM, func() error { return s.hold.LetEnd(t.Context(), s.c, killed) })
	}
	if err := let(false); !errors.Is(err, ErrStillFrozen) || !errors.Is(err, connection.ErrRefused) {
		t.Errorf("LetEnd() = %v", err)
	}
	s.Still(s.app)
	if records, err := s.dir.List(); err != nil || len(records) != 1 || len(records[0].Frozen) != 1 {
		t.Errorf("recorded is %+v, %v", records, err)
	}
	if err := let(true); err != nil {
		t.Errorf("LetEnd() of one that was killed = %v", err)
	}
	s.Moves(s.app)
}
