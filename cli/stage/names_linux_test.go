package stage

import (
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// serveNames is the cluster's DNS: one service, with both kinds of address, and
// nothing else.
func serveNames(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root: port 53 of the pod's name server cannot be bound")
	}
	serveUDP(t, "127.96.0.10:53", func(question []byte) []byte {
		var message dnsmessage.Message
		if err := message.Unpack(question); err != nil || len(message.Questions) != 1 {
			return nil
		}
		asked := message.Questions[0]
		answer := dnsmessage.Message{Header: dnsmessage.Header{ID: message.ID, Response: true, Authoritative: true}, Questions: message.Questions}
		if asked.Name.String() != "queue.shop.svc.cluster.local." {
			answer.RCode = dnsmessage.RCodeNameError
		} else if asked.Type == dnsmessage.TypeA {
			answer.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: asked.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: [4]byte{10, 96, 0, 1}},
			}}
		}
		packed, err := answer.Pack()
		if err != nil {
			return nil
		}
		return packed
	})
}

// lyingCache is what nscd is to glibc, but that it says 6.6.6.6 of every name.
// It counts who asks.
func lyingCache(t *testing.T, path string) *atomic.Int64 {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			go func() {
				defer conn.Close()
				request := make([]byte, 512)
				n, err := conn.Read(request)
				// struct request_header: version, type, key length; GETAI is 14.
				if err != nil || n < 12 || binary.NativeEndian.Uint32(request[4:]) != 14 {
					return
				}
				// struct ai_response_header: version 2, found, one address of 4
				// bytes, no name, no error; then the address and its family.
				var answer []byte
				for _, field := range []uint32{2, 1, 1, 4, 0, 0} {
					answer = binary.NativeEndian.AppendUint32(answer, field)
				}
				conn.Write(append(answer, 6, 6, 6, 6, 2))
			}()
		}
	}()
	return &asked
}

// A process that asks glibc for a name must get the pod's answer, although the
// host has a daemon that glibc would ask first and that knows better.
func TestTheHostsResolversAreNotAsked(t *testing.T) {
	serveNames(t)
	if _, err := exec.LookPath("getent"); err != nil {
		t.Skip("no getent: glibc is not asked here")
	}
	directory := shared(t)
	asked := lyingCache(t, directory+"/socket")
	// The host's /run, with nscd, is that of a mount namespace made here.
	onHost := func(c *exec.Cmd) *exec.Cmd {
		script := `mount -t tmpfs -o mode=755 none /run && mkdir -p /run/nscd && mount --bind "$0" /run/nscd && exec "$@"`
		args := append([]string{"--mount", "--propagation", "private", "sh", "-c", script, directory}, c.Args...)
		args[7] = c.Path
		wrapped := exec.Command("unshare", args...)
		wrapped.Env, wrapped.Dir = c.Env, c.Dir
		return wrapped
	}
	// First that the test can fail.
	out, err := onHost(exec.Command("getent", "ahosts", "queue.shop.svc.cluster.local")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "6.6.6.6") || asked.Load() == 0 {
		t.Fatalf("outside of a stage the lying resolver was asked %d times, and getent said %s (%v)", asked.Load(), out, err)
	}
	asked.Store(0)

	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"glibc", "10.96.0.1", []string{"getent", "ahosts", "queue.shop.svc.cluster.local"}},
		{"glibc by the search list", "10.96.0.1", []string{"getent", "ahosts", "queue"}},
		{"glibc from the pod's hosts", "10.96.0.44", []string{"getent", "ahosts", "from-hosts"}},
		{"Go", "10.96.0.1", []string{client(t), "lookup", "queue"}},
		{"Go, of a name that is not", "no such host", []string{client(t), "lookup", "not-there"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := command(t, player{"root", 0, DeviceAuto}, script{}, test.args...)
			out, err := onHost(c).CombinedOutput()
			if err != nil || !strings.Contains(string(out), test.want) || strings.Contains(string(out), "6.6.6.6") {
				t.Errorf("got %s (%v), want %s", out, err, test.want)
			}
		})
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the host's resolver was asked %d times", n)
	}
	if out, err := onHost(command(t, player{"root", 0, DeviceAuto}, script{}, "getent", "ahosts", "not-there")).CombinedOutput(); err == nil {
		t.Errorf("an unknown name is %s", out)
	}
}

// The programs that developers run, by names.
func TestProgramsReachAServiceByItsName(t *testing.T) {
	serveNames(t)
	serve(t, "127.96.0.1:80", func(conn *net.TCPConn) {
		request := make([]byte, 4096)
		conn.Read(request)
		conn.Write([]byte("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nthe queue"))
	})
	programs := map[string][]string{
		"a static Go binary":      {client(t), "get", "http://queue"},
		"curl":                    {"curl", "-sS", "http://queue"},
		"python":                  {"python3", "-c", "import urllib.request; print(urllib.request.urlopen('http://queue').read().decode())"},
		"a shell with children":   {"sh", "-c", "(" + client(t) + " get http://queue | cat) & wait"},
		"a program written in C":  {"./fetch", "queue"},
		"a background of a shell": {"sh", "-c", client(t) + " get http://queue & wait $!"},
	}
	directory := shared(t)
	if cc, err := exec.LookPath("cc"); err == nil {
		if out, err := exec.Command(cc, "-o", directory+"/fetch", "testdata/fetch.c").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		programs["a program written in C"][0] = directory + "/fetch"
	}
	eachPlayer(t, func(t *testing.T, p player) {
		for name, args := range programs {
			t.Run(name, func(t *testing.T) {
				// Looked up as the player: a program in root's home is not the
				// user's.
				if err := exec.Command("setpriv", "--reuid", "65534", "--clear-groups", "sh", "-c", `command -v "$0" && "$0" --version`, args[0]).Run(); err != nil && strings.HasPrefix(args[0], "python") {
					t.Skipf("%s cannot be run by everybody here", args[0])
				}
				if _, err := exec.LookPath(args[0]); err != nil {
					t.Skipf("no %s here", args[0])
				}
				if got := output(t, p, script{}, args...); !strings.Contains(got, "the queue") {
					t.Errorf("got %q", got)
				}
			})
		}
	})
}
