//go:build linux

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Where the pod's own addresses are reached from inside the stage, which has
// the same addresses itself: blocks that are never routed, 192.0.0.0/24
// (RFC 6890) and 100::/64 (RFC 6666). The first address of a block is what
// such connections come from.
var (
	aliases4 = netip.MustParsePrefix("192.0.0.32/27")
	aliases6 = netip.MustParsePrefix("100::20/123")
)

// maxAliases of one family, loopback included; a pod has one or two addresses.
const maxAliases = 16

// Mark of sockets whose connections are not redirected: those that are meant
// for a local listener in any case.
const Mark = 0x756e6473

// Alias stands for an address that both pod and stage have.
type Alias struct {
	Alias, Actual netip.Addr
}

// Aliases of loopback and of each of the pod's addresses.
func Aliases(addresses []netip.Addr) []Alias {
	var aliases []Alias
	for _, family := range []struct {
		block    netip.Prefix
		loopback netip.Addr
	}{{aliases4, netip.AddrFrom4([4]byte{127, 0, 0, 1})}, {aliases6, netip.IPv6Loopback()}} {
		actuals := []netip.Addr{family.loopback}
		for _, address := range addresses {
			if address.Is6() == family.loopback.Is6() && len(actuals) < maxAliases {
				actuals = append(actuals, address)
			}
		}
		alias := family.block.Addr()
		for _, actual := range actuals {
			alias = alias.Next()
			aliases = append(aliases, Alias{Alias: alias, Actual: actual})
		}
	}
	return aliases
}

// Redirect is one port at one of the addresses which is to be reached in the
// pod instead of in the stage.
type Redirect struct {
	Network string // "tcp" or "udp"
	Addr    netip.Addr
	Port    uint16
}

// Redirects says which sockets of the pod are to be reached: each of the
// sockets at each address that it covers, but for those that a local socket
// covers as well, as what the developer runs comes first.
func Redirects(aliases []Alias, remote, local []Socket) []Redirect {
	var redirects []Redirect
	seen := map[Redirect]bool{}
	for _, socket := range remote {
		for _, alias := range aliases {
			redirect := Redirect{Network: socket.Network, Addr: alias.Actual, Port: socket.Port}
			if !covers(socket, redirect) || seen[redirect] {
				continue
			}
			seen[redirect] = true
			if !Covered(local, redirect) {
				redirects = append(redirects, redirect)
			}
		}
	}
	return redirects
}

// Covered says whether one of the sockets would take what is sent to the
// redirect's address and port.
func Covered(sockets []Socket, redirect Redirect) bool {
	for _, socket := range sockets {
		if covers(socket, redirect) {
			return true
		}
	}
	return false
}

// covers takes a socket of the pod that is bound to :: as one for both
// families: whether it is for IPv6 alone is not known.
func covers(socket Socket, redirect Redirect) bool {
	if socket.Network != redirect.Network || socket.Port != redirect.Port {
		return false
	}
	switch socket.Addr {
	case netip.IPv6Unspecified():
		return !socket.Only6 || redirect.Addr.Is6()
	case netip.IPv4Unspecified():
		return redirect.Addr.Is4()
	}
	return socket.Addr == redirect.Addr
}

// ErrNoRedirect: this kernel lacks what SetRedirects needs.
var ErrNoRedirect = errors.New("this kernel has no nftables with address translation")

// SetRedirects makes exactly these redirects, at once: connections to them are
// sent to their aliases, and come from the first address of the aliases' block.
// Connections that exist are not touched.
func SetRedirects(aliases []Alias, redirects []Redirect) error {
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		if family == nftables.TableFamilyIPv6 && !HasIPv6() {
			continue
		}
		if err := setRedirects(family, aliases, redirects); err != nil {
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
				return fmt.Errorf("%w: %w", ErrNoRedirect, err)
			}
			return fmt.Errorf("redirecting the pod's loopback: %w", err)
		}
	}
	return nil
}

func setRedirects(family nftables.TableFamily, aliases []Alias, redirects []Redirect) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	is6 := family == nftables.TableFamilyIPv6
	block := aliases4
	if is6 {
		block = aliases6
	}
	table := conn.AddTable(&nftables.Table{Name: "understudy", Family: family})
	output := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	leaving := conn.AddChain(&nftables.Chain{
		Name: "leaving", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	// The chains stay, their rules are exchanged in one transaction: without
	// the chains the kernel would not translate the replies of connections
	// that exist.
	conn.FlushChain(output)
	conn.FlushChain(leaving)
	conn.AddRule(&nftables.Rule{Table: table, Chain: output, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(Mark)},
		&expr.Verdict{Kind: expr.VerdictReturn},
	}})
	for _, redirect := range redirects {
		if redirect.Addr.Is6() != is6 {
			continue
		}
		for _, alias := range aliases {
			if alias.Actual == redirect.Addr {
				conn.AddRule(&nftables.Rule{Table: table, Chain: output, Exprs: redirectTo(redirect, alias.Alias)})
			}
		}
	}
	conn.AddRule(&nftables.Rule{Table: table, Chain: leaving, Exprs: comeFrom(block)})
	return conn.Flush()
}

// redirectTo: ip daddr A tcp dport P dnat to ALIAS.
func redirectTo(redirect Redirect, alias netip.Addr) []expr.Any {
	protocol := byte(unix.IPPROTO_TCP)
	if redirect.Network == "udp" {
		protocol = unix.IPPROTO_UDP
	}
	return append(destination(redirect.Addr, redirect.Addr.BitLen()),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(redirect.Port)},
		&expr.Immediate{Register: 1, Data: alias.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family(alias), RegAddrMin: 1},
	)
}

// comeFrom: ip daddr BLOCK snat to the first address of BLOCK.
func comeFrom(block netip.Prefix) []expr.Any {
	return append(destination(block.Addr(), block.Bits()),
		&expr.Immediate{Register: 1, Data: block.Addr().AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family(block.Addr()), RegAddrMin: 1},
	)
}

// destination matches the destination address against the first bits of addr.
func destination(addr netip.Addr, bits int) []expr.Any {
	offset, length := uint32(16), uint32(4)
	if addr.Is6() {
		offset, length = 24, 16
	}
	mask := make([]byte, length)
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr.AsSlice()},
	}
}

func family(addr netip.Addr) uint32 {
	if addr.Is6() {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}
