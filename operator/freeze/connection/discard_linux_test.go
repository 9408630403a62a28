package connection

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

// reader reads its one connection to its end and says how many bytes it had.
func reader(count func()) error {
	kind, address, _ := strings.Cut(os.Getenv(peersVariable), "=")
	fd, err := open(kind, netip.MustParseAddrPort(address))
	if err != nil {
		return err
	}
	count()
	total, buffer := 0, make([]byte, 256)
	for {
		n, err := unix.Read(fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			fmt.Println(total)
			break
		}
		total += n
	}
	for ; ; count() {
		time.Sleep(time.Millisecond)
	}
}

// slow listens, and accepts nothing before SIGUSR1; then it says what it is sent first.
func slow(count func()) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	accept, stop := signal.NotifyContext(context.Background(), unix.SIGUSR1)
	defer stop()
	fmt.Println(listener.Addr())
	for ; accept.Err() == nil; count() {
		time.Sleep(time.Millisecond)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		first := make([]byte, 1)
		_, _ = io.ReadFull(conn, first)
		fmt.Printf("%q\n", first)
	}
}

func frozenGroup(t *testing.T, pod *freezetest.Pod) *cgroup.Group {
	t.Helper()
	group, err := cgroup.Node{}.Find(cgroup.Container{PodUID: pod.UID, ID: pod.ID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { group.Close() })
	if err := group.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	return group
}

// What has come while it was frozen is not read afterwards, whatever has become of
// the connection that it came by.
func TestDiscard(t *testing.T) {
	freezetest.NeedRoot(t)
	reset := func(t *testing.T, _ *cgroup.Group, conn *net.TCPConn) {
		if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
			t.Error(err)
		}
	}
	closed := func(t *testing.T, _ *cgroup.Group, conn *net.TCPConn) {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	destroyed := func(t *testing.T, group *cgroup.Group, _ *net.TCPConn) {
		if ended, err := Destroy(group.PIDs, Either); err != nil || ended != 1 {
			t.Errorf("Destroy() = %d, %v", ended, err)
		}
	}
	for _, fate := range []struct {
		name string
		do   func(*testing.T, *cgroup.Group, *net.TCPConn)
	}{
		{"open", func(*testing.T, *cgroup.Group, *net.TCPConn) {}},
		{"closed by its peer", closed},
		{"reset by its peer", reset},
		{"destroyed", destroyed},
		{"destroyed, behind an urgent byte", destroyed},
		{"closed by its peer and destroyed", func(t *testing.T, group *cgroup.Group, conn *net.TCPConn) {
			closed(t, group, conn)
			destroyed(t, group, conn)
		}},
	} {
		for _, kind := range []string{"v4", "v6", "mptcp"} {
			t.Run(fate.name+"/"+kind, func(t *testing.T) {
				address := "127.0.0.1:0"
				if kind == "v6" {
					address = "[::1]:0"
				}
				config := net.ListenConfig{}
				config.SetMultipathTCP(kind == "mptcp")
				listener, err := config.Listen(t.Context(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				pod := freezetest.NewPod(t, 2)
				app := pod.Start("reader", pod.Dirs, peersVariable+"="+kind+"="+listener.Addr().String())
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				group := frozenGroup(t, pod)
				if strings.Contains(fate.name, "urgent") && kind != "mptcp" { // which has none
					urge(t, conn.(*net.TCPConn))
				}
				if _, err := io.WriteString(conn, strings.Repeat("m", 100)); err != nil {
					t.Fatal(err)
				}
				fate.do(t, group, conn.(*net.TCPConn))
				if err := Discard(group.PIDs); err != nil {
					t.Fatal(err)
				}
				if err := group.Thaw(t.Context()); err != nil {
					t.Fatal(err)
				}
				said := bufio.NewScanner(app.Out)
				if said.Scan(); said.Text() != "0" {
					t.Errorf("of what came while it was frozen it has read %q bytes", said.Text())
				}
				pod.Moves(app)
			})
		}
	}
}

// urge sends an urgent byte.
func urge(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("u"), unix.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
}

// Who has connected and was not accepted yet is told at once, and may come again.
func TestNotAccepted(t *testing.T) {
	for name, end := range map[string]func(func() ([]int, error)) error{
		"Discard": Discard,
		"Destroy": func(list func() ([]int, error)) error {
			ended, err := Destroy(list, Either)
			if ended != 2 {
				t.Errorf("Destroy() = %d", ended)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { notAccepted(t, end) })
	}
}

func notAccepted(t *testing.T, end func(func() ([]int, error)) error) {
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("slow", pod.Dirs)
	said := bufio.NewScanner(app.Out)
	said.Scan()
	address := said.Text()
	call := func(word string) net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, word); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	early := []net.Conn{call("e"), call("e")}
	group := frozenGroup(t, pod)
	if err := end(group.PIDs); err != nil {
		t.Fatal(err)
	}
	for _, conn := range early {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("who was not accepted sees %v, not a reset", err)
		}
	}
	if err := group.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	call("l")
	if err := app.Cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if said.Scan(); said.Text() != strconv.Quote("l") {
		t.Errorf("the first that it accepts says %s", said.Text())
	}
}

// A node may let nobody copy descriptors: that is said, and nothing is discarded by
// halves in silence.
func TestRefused(t *testing.T) {
	freezetest.NeedRoot(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	pod := freezetest.NewPod(t, 2)
	pod.Start("reader", pod.Dirs, peersVariable+"=v4="+listener.Addr().String())
	group := frozenGroup(t, pod)
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		if err := freezetest.Without(unix.SYS_PIDFD_GETFD, errno, func() error { return Discard(group.PIDs) }); !errors.Is(err, ErrRefused) {
			t.Errorf("where the kernel answers %v: %v", errno, err)
		}
	}
	// To end connections netlink is enough.
	err = freezetest.Without(unix.SYS_PIDFD_GETFD, unix.EPERM, func() error {
		ended, err := Destroy(group.PIDs, Either)
		if ended != 1 {
			t.Errorf("Destroy() = %d", ended)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
