package agent

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31338 1 0000000000000000 100 0 0 10 0
   2: 0302010A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31339 1 0000000000000000 100 0 0 10 0
   3: 0100007F:1538 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 31340 1 0000000000000000 100 0 0 10 0
   4: 0100007F:1D17 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 777 1 0000000000000000 100 0 0 10 0
`

const tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:2328 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31341 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:2329 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31342 1 0000000000000000 100 0 0 10 0
`

const udpTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 31343 2 0000000000000000 0
  101: 00000000:D903 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 31344 2 0000000000000000 0
  102: 0302010A:9C40 0A00600A:0035 01 00000000:00000000 00:00000000 00000000  1000        0 31345 2 0000000000000000 0
`

// filesystem makes a root with these files, and own sockets among the agent's
// descriptors.
func filesystem(t *testing.T, files map[string]string, own ...string) string {
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	descriptors := filepath.Join(root, "proc/self/fd")
	if err := os.MkdirAll(descriptors, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, target := range own {
		if err := os.Symlink(target, filepath.Join(descriptors, string(rune('3'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func testPod(t *testing.T, root string, config settings.Config) *pod {
	p := newPod(&config, slog.New(slog.NewTextHandler(t.Output(), nil)))
	p.root = root
	return p
}

func TestLoopbackPortsOfTables(t *testing.T) {
	root := filesystem(t, map[string]string{
		"proc/self/net/tcp":                     tcpTable,
		"proc/self/net/tcp6":                    tcp6Table,
		"proc/self/net/udp":                     udpTable,
		"proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
	}, "socket:[777]", "/dev/null", "pipe:[31337]")
	got, err := testPod(t, root, settings.Config{}).loopbackPorts()
	if err != nil {
		t.Fatal(err)
	}
	four, six := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	want := []tunnel.Endpoint{
		{Network: "tcp", Addr: four, Port: 5432},
		{Network: "tcp", Addr: netip.IPv4Unspecified(), Port: 8080},
		{Network: "tcp", Addr: six, Port: 9000},
		{Network: "tcp", Addr: four, Port: 9001},
		{Network: "udp", Addr: four, Port: 8125},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The kernel's own tables: a real listener is found, unless it is our own.
func TestLoopbackPortsOfKernel(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	listed := func(root string) bool {
		ports, err := testPod(t, root, settings.Config{}).loopbackPorts()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(ports, func(e tunnel.Endpoint) bool { return e.Port == port })
	}
	if listed("/") {
		t.Error("the agent's own listener is listed")
	}
	another := filesystem(t, nil)
	if err := os.Symlink("/proc/self/net", filepath.Join(another, "proc/self/net")); err != nil {
		t.Fatal(err)
	}
	if !listed(another) {
		t.Error("another's listener is not listed")
	}
}

func TestMalformedTables(t *testing.T) {
	for _, line := range []string{"0: x", "0: 0100007F 0:0 0A 0 0 0 0 0 1", "0: 01:1F90 0:0 0A 0 0 0 0 0 1", "0: 0100007F:1F90 0:0 0A 0 0 0 0 0 x"} {
		if _, err := parseSockets(strings.NewReader("heading\n"+line+"\n"), "tcp", stateListen); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func FuzzParseSockets(f *testing.F) {
	f.Add(tcpTable)
	f.Add(tcp6Table)
	f.Add(udpTable)
	f.Fuzz(func(t *testing.T, table string) {
		sockets, err := parseSockets(strings.NewReader(table), "tcp", stateListen)
		for _, s := range sockets {
			if err == nil && !s.local.Addr().IsValid() {
				t.Errorf("%q has an invalid address", table)
			}
		}
	})
}

func TestAddressesInTheOrderOfHosts(t *testing.T) {
	one, two, three := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("10.9.9.9")
	got := []netip.Addr{three, one, two}
	sortByHosts(got, []byte("# made by the kubelet\n127.0.0.1\tlocalhost\nfd00::2\tworker\n10.0.0.1\tworker\n"))
	if diff := cmp.Diff([]netip.Addr{two, one, three}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}
