package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// prefix of our tables' names; the session's follows.
const prefix = "understudy-"

// maxSession in bytes: a table's name has at most 255 (NFT_NAME_MAXLEN).
const maxSession = 255 - len(prefix)

// Priorities of our chains. New connections are refused before anybody translates
// their address, and redirected when everybody has (a mesh's own redirect is at
// -100, where all of address translation is).
var (
	beforeTranslation = nftables.ChainPriorityRef(-310)
	afterTranslation  = nftables.ChainPriorityRef(-90)
)

// plan is all that a table is made from.
type plan struct {
	session string
	raised  *Scope // nil: nobody is refused

	stolen []Port
	steal  []netip.AddrPort // where stolen connections go: one address of each family

	stolenUDP []Port
	stealUDP  []netip.AddrPort // where stolen datagrams go

	probed []uint16
	answer []netip.AddrPort // where probes go
	nodes  []netip.Addr     // whom probes come from
	meshed bool             // or from the pod's other containers
}

// Port is one that connections are redirected from.
type Port struct {
	Number uint16
	// Loopback is for the pod's loopback addresses only.
	Loopback bool
}

// errUnsupported: this kernel lacks something that a table needs.
var errUnsupported = errors.New("this kernel's nftables lack what a fence is made of")

// apply makes the plan's table what it says, in one transaction. Called within the
// namespace.
func (p plan) apply() error {
	b, err := newBuilder(p.session)
	if err != nil {
		return err
	}
	b.conn.AddTable(b.table)
	b.conn.DelTable(b.table)
	b.conn.AddTable(b.table)
	p.redirect(b)
	p.refuse(b)
	if err := b.conn.Flush(); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
			return fmt.Errorf("%w: %w", errUnsupported, err)
		}
		return fmt.Errorf("writing the rules of session %s: %w", p.session, err)
	}
	return nil
}

// redirect: what comes in for a stolen port goes to the agent, and so do probes.
func (p plan) redirect(b *builder) {
	if len(p.stolen)+len(p.stolenUDP)+len(p.probed) == 0 {
		return
	}
	incoming := b.base("incoming", nftables.ChainHookPrerouting, afterTranslation)
	steal, answer, probe := b.chain("steal"), b.chain("answer"), b.chain("probe")
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	if len(p.stolenUDP) == 0 {
		b.rule(incoming, "all but TCP passes", not(protocol(unix.IPPROTO_TCP)), accept)
	}
	b.rule(incoming, "the agent's own connections pass", mark(Mark), accept)
	// fib daddr type is what tells a pod that forwards for others from its own.
	b.rule(incoming, "what is not for this pod passes", notLocal(), accept)
	if p.raised != nil {
		for _, group := range p.raised.Spared {
			b.rule(incoming, "another container listens there", inCgroup(group), accept)
		}
		if !p.raised.ByCgroup() {
			for _, listener := range p.raised.Listeners {
				b.rule(incoming, "another container listens there", comesTo(listener), accept)
			}
		}
	}
	for number, stolen := range map[byte][]Port{unix.IPPROTO_TCP: p.stolen, unix.IPPROTO_UDP: p.stolenUDP} {
		for _, port := range stolen {
			if !port.Loopback {
				b.rule(incoming, "stolen", protocol(number), destinationPort(port.Number), goTo(steal))
				continue
			}
			b.rule(incoming, "stolen on loopback", protocol(number), family(unix.NFPROTO_IPV4), destinationIn(loopback4), destinationPort(port.Number), goTo(steal))
			b.rule(incoming, "stolen on loopback", protocol(number), family(unix.NFPROTO_IPV6), destinationIn(loopback6), destinationPort(port.Number), goTo(steal))
		}
	}
	for _, port := range p.probed {
		b.rule(incoming, "may be a probe", protocol(unix.IPPROTO_TCP), destinationPort(port), goTo(probe))
	}
	if p.meshed {
		b.rule(probe, "from the pod itself", fromLoopback(), goTo(answer))
	}
	for _, node := range p.nodes {
		b.rule(probe, "from the node", family(familyOf(node)), source(node), goTo(answer))
	}
	give := func(chain *nftables.Chain, number byte, doors []netip.AddrPort) {
		for _, door := range doors {
			b.rule(chain, "to the agent", family(familyOf(door.Addr())), protocol(number), giveTo(door), accept)
		}
	}
	give(steal, unix.IPPROTO_TCP, p.steal)
	give(steal, unix.IPPROTO_UDP, p.stealUDP)
	give(answer, unix.IPPROTO_TCP, p.answer)
}

// refuse: new connections from and to the held container.
func (p plan) refuse(b *builder) {
	if p.raised == nil {
		return
	}
	outgoing := b.base("outgoing", nftables.ChainHookOutput, beforeTranslation)
	arriving := b.base("arriving", nftables.ChainHookInput, nftables.ChainPriorityFilter)
	out, in, refused := b.chain("out"), b.chain("in"), b.chain("refused")
	for from, to := range map[*nftables.Chain]*nftables.Chain{outgoing: out, arriving: in} {
		b.rule(from, "a new connection", protocol(unix.IPPROTO_TCP), opensTCP(), goTo(to))
		b.rule(from, "a datagram", protocol(unix.IPPROTO_UDP), goTo(to))
		b.rule(from, "a datagram", protocol(unix.IPPROTO_UDPLITE), goTo(to))
		b.rule(from, "a new association", protocol(unix.IPPROTO_SCTP), opensSCTP(), goTo(to))
	}
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	if scope := p.raised; scope.ByCgroup() {
		for _, chain := range []*nftables.Chain{out, in} {
			for _, group := range scope.Spared {
				b.rule(chain, "of another container", inCgroup(group), accept)
			}
			b.rule(chain, "of the pod", inCgroup(scope.Pod), goTo(refused))
		}
	} else {
		b.rule(out, "the agent's", mark(Mark), accept)
		for _, user := range scope.SparedUsers {
			b.rule(out, "of another container's user", ofUser(user), accept)
		}
		b.rule(out, "of anybody else", goTo(refused))
		b.rule(in, "the agent's", socketMark(Mark), accept)
		if len(scope.SparedUsers) > 0 {
			b.rule(in, "a reply to another container", not(protocol(unix.IPPROTO_TCP)), isReply(), accept)
		}
		for _, listener := range scope.Listeners {
			b.rule(in, "another container listens there", comesTo(listener), accept)
		}
		b.rule(in, "of anybody else", goTo(refused))
	}
	b.rule(refused, "", protocol(unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
	b.rule(refused, "", &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH})
}

// remove takes a session's table away. Called within the namespace.
func remove(session string) error {
	b, err := newBuilder(session)
	if err != nil {
		return err
	}
	// Made first if it is not there, so that there is always one to delete.
	b.conn.AddTable(b.table)
	b.conn.DelTable(b.table)
	err = b.conn.Flush()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil // a kernel without nftables has no rules
	}
	if err != nil {
		return fmt.Errorf("removing the rules of session %s: %w", session, err)
	}
	return nil
}

// listAttempts of a list that changes while it is read.
const listAttempts = 10

// sessions that have a table. Called within the namespace.
func sessions() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	for attempt := 1; ; attempt++ {
		tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
		if errors.Is(err, unix.EINTR) && attempt < listAttempts {
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("listing nftables: %w", err)
		}
		var found []string
		for _, table := range tables {
			if session, ok := strings.CutPrefix(table.Name, prefix); ok {
				found = append(found, session)
			}
		}
		return found, nil
	}
}

// builder writes one table.
type builder struct {
	conn  *nftables.Conn
	table *nftables.Table
}

// checkName refuses a session that cannot name a table.
func checkName(session string) error {
	if session == "" || len(session) > maxSession || strings.ContainsRune(session, 0) {
		return fmt.Errorf("session %q cannot name a table: it has %d bytes, 1 to %d are possible", session, len(session), maxSession)
	}
	return nil
}

func newBuilder(session string) (*builder, error) {
	if err := checkName(session); err != nil {
		return nil, err
	}
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	return &builder{conn: conn, table: &nftables.Table{Name: prefix + session, Family: nftables.TableFamilyINet}}, nil
}

func (b *builder) base(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority})
}

func (b *builder) chain(name string) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table})
}

// rule adds one; parts are expressions and matches of several.
func (b *builder) rule(chain *nftables.Chain, comment string, parts ...any) {
	rule := &nftables.Rule{Table: b.table, Chain: chain}
	for _, part := range parts {
		switch part := part.(type) {
		case match:
			rule.Exprs = append(rule.Exprs, part...)
		case expr.Any:
			rule.Exprs = append(rule.Exprs, part)
		}
	}
	if comment != "" {
		rule.UserData = userdata.AppendString(nil, userdata.TypeComment, comment)
	}
	b.conn.AddRule(rule)
}

func goTo(chain *nftables.Chain) *expr.Verdict {
	return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name}
}

// match is a condition of a rule.
type match []expr.Any

// not inverts a match that ends in a comparison for equality.
func not(m match) match {
	last := len(m) - 1
	inverted := *m[last].(*expr.Cmp)
	inverted.Op = expr.CmpOpNeq
	return append(m[:last:last], &inverted)
}

func equal(data []byte) *expr.Cmp {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}
}

func native(value uint32) []byte { return binaryutil.NativeEndian.PutUint32(value) }

func protocol(number byte) match {
	return match{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{number})}
}

func family(number byte) match {
	return match{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{number})}
}

func familyOf(addr netip.Addr) byte {
	if addr.Is6() {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

func mark(value uint32) match {
	return match{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, equal(native(value))}
}

func socketMark(value uint32) match {
	return match{&expr.Socket{Key: expr.SocketKeyMark, Register: 1}, equal(native(value))}
}

// inCgroup matches nothing where there is no socket.
func inCgroup(group Cgroup) match {
	return match{
		&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: group.Level, Register: 1},
		equal(binaryutil.NativeEndian.PutUint64(group.ID)),
	}
}

func ofUser(user uint32) match {
	return match{&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}, equal(native(user))}
}

// loopbackIndex is the kernel's LOOPBACK_IFINDEX, the same in each namespace.
const loopbackIndex = 1

func fromLoopback() match {
	return match{&expr.Meta{Key: expr.MetaKeyIIF, Register: 1}, equal(native(loopbackIndex))}
}

func notLocal() match {
	return match{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native(unix.RTN_LOCAL)},
	}
}

func destinationPort(port uint16) match {
	return match{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		equal(binaryutil.BigEndian.PutUint16(port)),
	}
}

func comesTo(listener Listener) match {
	number := byte(unix.IPPROTO_TCP)
	if listener.UDP {
		number = unix.IPPROTO_UDP
	}
	m := append(protocol(number), destinationPort(listener.At.Port())...)
	switch addr := listener.At.Addr(); {
	case addr == netip.IPv6Unspecified():
	case addr.IsUnspecified():
		m = append(m, family(unix.NFPROTO_IPV4)...)
	default:
		m = append(append(m, family(familyOf(addr))...), destinationIn(netip.PrefixFrom(addr, addr.BitLen()))...)
	}
	return m
}

// opensTCP: SYN without ACK, FIN or RST (RFC 9293, 3.1: the flags are byte 13).
func opensTCP() match {
	const fin, syn, rst, ack = 1, 2, 4, 16
	return match{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
		equal([]byte{syn}),
	}
}

// opensSCTP: the first chunk is INIT (RFC 9260, 3.3.2: type 1, after 12 bytes).
func opensSCTP() match {
	return match{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 12, Len: 1},
		equal([]byte{1}),
	}
}

func isReply() match {
	return match{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: native(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: native(0),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native(0)},
	}
}

// Where the addresses are in the headers of IPv4 and IPv6.
func source(addr netip.Addr) match {
	offset := uint32(12)
	if addr.Is6() {
		offset = 8
	}
	return match{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(addr.BitLen() / 8)},
		equal(addr.AsSlice()),
	}
}

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
)

// destinationIn takes prefixes of whole bytes.
func destinationIn(block netip.Prefix) match {
	offset := uint32(16)
	if block.Addr().Is6() {
		offset = 24
	}
	length := block.Bits() / 8
	return match{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(length)},
		equal(block.Addr().AsSlice()[:length]),
	}
}

// giveTo gives the packet to the socket that listens at door.
func giveTo(door netip.AddrPort) match {
	return match{
		&expr.Immediate{Register: 1, Data: door.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(door.Port())},
		&expr.TProxy{Family: familyOf(door.Addr()), TableFamily: byte(nftables.TableFamilyINet), RegAddr: 1, RegPort: 2},
	}
}
