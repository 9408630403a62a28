package boundary

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// usual is a configuration in which nobody has said anything.
func usual() *config.Config {
	return &config.Config{
		Files: config.Files{Mode: config.FilesRead}, Incoming: config.Incoming{Mode: config.IncomingSteal},
		Outgoing: config.Outgoing{TCP: true, UDP: true}, Names: config.Names{Enabled: true}, Hostname: true,
	}
}

func draw(t *testing.T, change func(*config.Config)) *Boundary {
	t.Helper()
	c := usual()
	change(c)
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var welcome = tunnel.Welcome{
	Hostname: "worker-x",
	Files: []tunnel.File{
		{Path: "/etc/resolv.conf", Data: []byte("search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n")},
		{Path: "/etc/hosts", Data: []byte("127.0.0.1 localhost\n10.0.0.9 legacy-db legacy # old\n")},
		{Path: "/etc/hostname", Data: []byte("worker-x\n")},
	},
	Mounts: []tunnel.Mount{{Path: "/etc/app"}, {Path: "/var/run/secrets/token", File: true}},
	Ports:  []tunnel.Port{{Network: "tcp", Port: 80}, {Network: "tcp", Port: 443}, {Network: "tcp", Port: 8080}},
}

func TestNothingSaidChangesNothing(t *testing.T) {
	got := draw(t, func(*config.Config) {}).Welcome(welcome)
	if diff := cmp.Diff(welcome, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHostname(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	got := draw(t, func(c *config.Config) { c.Hostname = false }).Welcome(welcome)
	if got.Hostname != own || len(got.Files) != 2 {
		t.Errorf("%q, %d files", got.Hostname, len(got.Files))
	}
	if len(welcome.Files) != 3 {
		t.Error("the welcome itself was changed")
	}
}

func TestMounted(t *testing.T) {
	for name, tc := range map[string]struct {
		files config.Files
		want  string
	}{
		"read":                  {config.Files{Mode: config.FilesRead}, "/etc/app /var/run/secrets/token"},
		"local":                 {config.Files{Mode: config.FilesLocal, ReadOnly: []string{"."}}, ""},
		"some local":            {config.Files{Mode: config.FilesRead, Local: []string{"^/etc/app/"}}, "/var/run/secrets/token"},
		"local but for some":    {config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"token$"}}, "/var/run/secrets/token"},
		"read_only comes first": {config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"."}, Local: []string{"token"}}, "/etc/app /var/run/secrets/token"},
		"of what is read":       {config.Files{Mode: config.FilesRead, ReadOnly: []string{"APP"}, Local: []string{"."}}, "/etc/app"},
	} {
		var got []string
		for _, mount := range draw(t, func(c *config.Config) { c.Files = tc.files }).Welcome(welcome).Mounts {
			got = append(got, mount.Path)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestPorts(t *testing.T) {
	for name, tc := range map[string]struct {
		incoming config.Incoming
		all      bool
		want     []uint16
		wantAll  bool
	}{
		"off":                    {config.Incoming{Mode: config.IncomingOff}, true, nil, false},
		"all that may be":        {config.Incoming{Mode: config.IncomingSteal}, true, []uint16{80, 443, 8080}, true},
		"some":                   {config.Incoming{Ports: []uint16{443, 9999}}, false, []uint16{443}, false},
		"some of every":          {config.Incoming{Ports: []uint16{443, 9999}}, true, []uint16{443, 9999}, false},
		"all but some":           {config.Incoming{IgnorePorts: []uint16{443}}, false, []uint16{80, 8080}, false},
		"one stands for another": {config.Incoming{PortMapping: []config.PortPair{{3000, 80}}}, false, []uint16{3000, 443, 8080}, false},
		"two change places":      {config.Incoming{PortMapping: []config.PortPair{{80, 443}, {443, 80}}}, false, []uint16{443, 80, 8080}, false},
		"one takes a place":      {config.Incoming{PortMapping: []config.PortPair{{443, 80}}}, false, []uint16{443, 8080}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := welcome
			w.ListenAll = tc.all
			got := draw(t, func(c *config.Config) { c.Incoming = tc.incoming }).Welcome(w)
			var ports []uint16
			for _, port := range got.Ports {
				ports = append(ports, port.Port)
			}
			if !cmp.Equal(ports, tc.want) || got.ListenAll != tc.wantAll {
				t.Errorf("got %d, all %t", ports, got.ListenAll)
			}
		})
	}
}

func TestIsLocal(t *testing.T) {
	filter := func(f config.Filter) func(*config.Config) {
		return func(c *config.Config) { c.Outgoing.Filter = f }
	}
	for name, tc := range map[string]struct {
		change          func(*config.Config)
		here, elsewhere string // destinations, as tcp or udp://address:port
	}{
		"nothing said":     {func(*config.Config) {}, "", "tcp://10.0.0.9:80 udp://10.0.0.9:80 tcp://127.0.0.1:80"},
		"no tcp":           {func(c *config.Config) { c.Outgoing.TCP = false }, "tcp://10.0.0.9:80 tcp://127.0.0.1:80", "udp://10.0.0.9:80"},
		"no udp":           {func(c *config.Config) { c.Outgoing.UDP = false }, "udp://10.0.0.9:80", "tcp://10.0.0.9:80"},
		"ignore localhost": {func(c *config.Config) { c.Outgoing.IgnoreLocalhost = true }, "tcp://127.0.0.1:80 tcp://[::1]:80", "tcp://10.0.0.9:80"},
		"addresses":        {filter(config.Filter{Local: []string{"tcp://1.1.1.0/24:1337", "1.1.5.0/24", "[fd00::1]:80"}}), "tcp://1.1.1.7:1337 tcp://1.1.5.1:1 udp://1.1.5.1:1 tcp://[fd00::1]:80", "udp://1.1.1.7:1337 tcp://1.1.1.7:1338 tcp://[fd00::2]:80"},
		"a port":           {filter(config.Filter{Local: []string{":5432"}}), "tcp://10.0.0.9:5432 tcp://127.0.0.1:5432", "tcp://10.0.0.9:80"},
		"localhost":        {filter(config.Filter{Local: []string{"localhost:3000"}}), "tcp://127.0.0.1:3000 tcp://[::1]:3000", "tcp://127.0.0.1:3001 tcp://10.0.0.9:3000"},
		"a name":           {filter(config.Filter{Local: []string{"legacy-db:5432", "*.corp"}}), "tcp://10.0.0.9:5432", "tcp://10.0.0.9:80 tcp://10.0.0.8:5432"},
		"only some remote": {filter(config.Filter{Remote: []string{"legacy", "10.0.0.0/30"}}), "tcp://10.0.0.8:80 tcp://127.0.0.1:80", "tcp://10.0.0.9:80 tcp://10.0.0.2:1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := draw(t, tc.change)
			b.Welcome(welcome)
			for want, list := range map[bool]string{true: tc.here, false: tc.elsewhere} {
				for destination := range strings.FieldsSeq(list) {
					network, address, _ := strings.Cut(destination, "://")
					if got := b.isLocal(network, netip.MustParseAddrPort(address)); got != want {
						t.Errorf("%s from this machine: %t", destination, got)
					}
				}
			}
		})
	}
}

// TestLoopback: which ports of 127.0.0.1 lead where.
func TestLoopback(t *testing.T) {
	sockets := filepath.Join(t.TempDir(), "tcp")
	const list = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   3: 0500000A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
`
	if err := os.WriteFile(sockets, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	pod := []tunnel.Endpoint{{Network: "tcp", Addr: loopback, Port: 3000}, {Network: "tcp", Addr: loopback, Port: 15001}}
	for name, tc := range map[string]struct {
		change func(*config.Config)
		want   []uint16
	}{
		"the pod's":      {func(*config.Config) {}, []uint16{3000, 15001}},
		"this machine's": {func(c *config.Config) { c.Outgoing.IgnoreLocalhost = true }, []uint16{3000, 5432}},
		"one of this machine's": {func(c *config.Config) { c.Outgoing.Filter.Local = []string{"localhost:5432"} },
			[]uint16{3000, 5432, 15001}},
		"none of this machine's": {func(c *config.Config) { c.Outgoing.Filter.Local = []string{"localhost:1", "10.0.0.0/8"} },
			[]uint16{3000, 15001}},
	} {
		b := draw(t, tc.change)
		b.here.sockets = []string{sockets, filepath.Join(t.TempDir(), "none")}
		var got []uint16
		for _, endpoint := range b.Loopback(pod) {
			got = append(got, endpoint.Port)
		}
		if !cmp.Equal(got, tc.want) {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
