package connection

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

func TestMain(m *testing.M) {
	freezetest.Main(m, map[string]freezetest.Role{"client": client, "sidecar": sidecar, "reader": reader, "slow": slow})
}

// What the client is told: its connections, as KIND=ADDRESS, separated by blanks.
const peersVariable = "CONNECTION_TEST_PEERS"

// client opens connections of several kinds, and says of each how its read ended.
// It also listens, on a port that it says first.
func client(count func()) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fmt.Println("accept", err)
				return
			}
			conn.Close()
		}
	}()
	var fds []int
	var kinds []string
	for peer := range strings.FieldsSeq(os.Getenv(peersVariable)) {
		kind, address, _ := strings.Cut(peer, "=")
		fd, err := open(kind, netip.MustParseAddrPort(address))
		if err != nil {
			return fmt.Errorf("%s: %w", peer, err)
		}
		fds, kinds = append(fds, fd), append(kinds, kind)
	}
	for i, fd := range fds {
		go func() {
			_, err := unix.Read(fd, make([]byte, 1))
			fmt.Println(kinds[i], errnoName(err))
		}()
	}
	for {
		count()
		time.Sleep(time.Millisecond)
	}
}

func errnoName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}

// open makes a connection by hand, so that it is of the kind that is meant.
func open(kind string, to netip.AddrPort) (int, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_TCP
	var address unix.Sockaddr
	switch kind {
	case "v4", "mptcp":
		address = &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
		if kind == "mptcp" {
			protocol = protocolMPTCP
		}
	case "v6", "mapped":
		family = unix.AF_INET6
		address = &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, address)
}

// sidecar counts the bytes that come back to it.
func sidecar(count func()) error {
	_, address, _ := strings.Cut(os.Getenv(peersVariable), "=")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	for {
		if _, err := conn.Write([]byte{1}); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return err
		}
		count()
		time.Sleep(time.Millisecond)
	}
}

// broker answers with what it gets, and tells of each connection how it ended.
type broker struct {
	listener net.Listener
	accepted chan net.Conn
	ended    chan error
}

func startBroker(listener net.Listener) *broker {
	b := &broker{listener: listener, accepted: make(chan net.Conn, 16), ended: make(chan error, 16)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.accepted <- conn
			go func() {
				_, err := io.Copy(conn, conn)
				b.ended <- err
			}()
		}
	}()
	return b
}

func TestDestroy(t *testing.T) {
	for _, test := range []struct {
		name  string
		way   Way
		kinds []string
		// wakes is what the process gets when it runs again.
		wakes string
	}{
		{"by netlink", ByNetlink, []string{"v4", "v6", "mapped"}, "ECONNABORTED"},
		{"by descriptor", ByDescriptor, []string{"v4", "v6", "mapped"}, "ECONNRESET"},
		{"either", Either, []string{"v4", "v6", "mapped"}, "ECONNABORTED"},
		{"MPTCP", Either, []string{"mptcp"}, "ENOTCONN"},
	} {
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/v%d", test.name, version), func(t *testing.T) {
				pod, far := freezetest.NewNetwork(t), freezetest.NewNetwork(t)
				freezetest.Connect(pod, []string{"10.9.0.2/24", "fd09::2/64"}, far, []string{"10.9.0.1/24", "fd09::1/64"})
				listen := net.Listener(nil)
				if test.name == "MPTCP" {
					far.In(func() (err error) {
						config := net.ListenConfig{}
						config.SetMultipathTCP(true)
						listen, err = config.Listen(t.Context(), "tcp", ":0")
						return err
					})
					defer listen.Close()
				} else {
					listen = far.Listen(":0")
				}
				b := startBroker(listen)
				port := listen.Addr().(*net.TCPAddr).Port
				addresses := map[string]string{
					"v4":     fmt.Sprintf("v4=10.9.0.1:%d", port),
					"mptcp":  fmt.Sprintf("mptcp=10.9.0.1:%d", port),
					"v6":     fmt.Sprintf("v6=[fd09::1]:%d", port),
					"mapped": fmt.Sprintf("mapped=[::ffff:10.9.0.1]:%d", port),
				}
				var peers []string
				for _, kind := range test.kinds {
					peers = append(peers, addresses[kind])
				}
				container := freezetest.NewPod(t, version)
				app := pod.Start("client", slices.Collect(maps.Values(container.Dirs)), peersVariable+"="+strings.Join(peers, " "))
				said := bufio.NewScanner(app.Out)
				said.Scan()
				listening := said.Text()
				for range peers {
					<-b.accepted
				}
				beside := pod.Start("sidecar", nil, peersVariable+"="+addresses["v4"])

				group, err := cgroup.Node{}.Find(cgroup.Container{PodUID: container.UID, ID: container.ID})
				if err != nil {
					t.Fatal(err)
				}
				defer group.Close()
				if err := group.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
				ended, err := Destroy(group.PIDs, test.way)
				if err != nil || ended != len(peers) {
					t.Errorf("Destroy() = %d, %v, want %d", ended, err, len(peers))
				}
				// The process is still frozen; the other end knows.
				for range peers {
					select {
					case err := <-b.ended:
						if !errors.Is(err, unix.ECONNRESET) {
							t.Errorf("the peer saw %v", err)
						}
					case <-time.After(20 * time.Second):
						t.Fatal("the peer sees nothing")
					}
				}
				container.Moves(beside)
				if again, err := Destroy(group.PIDs, test.way); err != nil || again != 0 {
					t.Errorf("Destroy() again = %d, %v", again, err)
				}

				if err := group.Thaw(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range peers {
					said.Scan()
					if !strings.HasSuffix(said.Text(), " "+test.wakes) {
						t.Errorf("the process woke to %q", said.Text())
					}
				}
				// What listens still does.
				pod.In(func() error {
					conn, err := net.Dial("tcp", listening)
					if err == nil {
						conn.Close()
					}
					return err
				})
				container.Moves(beside)
			})
		}
	}
}
