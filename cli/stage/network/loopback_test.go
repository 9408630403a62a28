//go:build linux

package network

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedirects(t *testing.T) {
	addr := netip.MustParseAddr
	aliases := Aliases([]netip.Addr{addr("10.0.0.5"), addr("fd00::5")})
	tcp := func(address string, port uint16) Socket {
		return Socket{Network: "tcp", Addr: addr(address), Port: port}
	}
	to := func(address string, port uint16) Redirect {
		return Redirect{Network: "tcp", Addr: addr(address), Port: port}
	}
	for _, test := range []struct {
		name          string
		remote, local []Socket
		want          []Redirect
	}{
		{"none", nil, []Socket{tcp("0.0.0.0", 80)}, nil},
		{"on loopback", []Socket{tcp("127.0.0.1", 80)}, nil, []Redirect{to("127.0.0.1", 80)}},
		{"everywhere of IPv4", []Socket{tcp("0.0.0.0", 80)}, nil, []Redirect{to("127.0.0.1", 80), to("10.0.0.5", 80)}},
		{"everywhere", []Socket{tcp("::", 80)}, nil, []Redirect{to("127.0.0.1", 80), to("10.0.0.5", 80), to("::1", 80), to("fd00::5", 80)}},
		{"twice", []Socket{tcp("0.0.0.0", 80), tcp("127.0.0.1", 80)}, nil, []Redirect{to("127.0.0.1", 80), to("10.0.0.5", 80)}},
		{"a local one first", []Socket{tcp("0.0.0.0", 80)}, []Socket{tcp("127.0.0.1", 80)}, []Redirect{to("10.0.0.5", 80)}},
		{"a local one everywhere first", []Socket{tcp("::", 80)}, []Socket{tcp("::", 80)}, nil},
		{"a local one of UDP", []Socket{tcp("127.0.0.1", 80)}, []Socket{{Network: "udp", Addr: addr("::"), Port: 80}}, []Redirect{to("127.0.0.1", 80)}},
		{"at an address that is not the pod's", []Socket{tcp("10.9.9.9", 80)}, nil, nil},
	} {
		got := Redirects(aliases, test.remote, test.local)
		if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.name, diff)
		}
	}
}

func TestAliasesAreApart(t *testing.T) {
	aliases := Aliases([]netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6"), netip.MustParseAddr("fd00::5")})
	seen := map[netip.Addr]bool{aliases4.Addr(): true, aliases6.Addr(): true}
	for _, alias := range aliases {
		if seen[alias.Alias] || !aliases4.Contains(alias.Alias) && !aliases6.Contains(alias.Alias) || alias.Alias.Is4() != alias.Actual.Is4() {
			t.Errorf("%+v", alias)
		}
		seen[alias.Alias] = true
	}
	if len(aliases) != 5 {
		t.Errorf("%d aliases of five addresses", len(aliases))
	}
}
