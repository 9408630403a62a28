package boundary

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// asksHere says whether all names are looked up on this machine.
func (b *Boundary) asksHere() bool { return !b.names.Enabled }

// place says where a name is looked up, and as what.
func (b *Boundary) place(name string) (here bool, as string) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	b.mu.Lock()
	defer b.mu.Unlock()
	match := func(patterns []string) (string, bool) {
		for _, pattern := range patterns {
			if as, ok := b.meant(name, pattern); ok {
				return as, true
			}
		}
		return name, false
	}
	if b.asksHere() {
		return true, name
	}
	if len(b.remoteName) > 0 {
		as, remote := match(b.remoteName)
		return !remote, as
	}
	as, local := match(b.localName)
	return local, as
}

// listens says whether the questions to the pod's name servers matter: some are
// answered here, or a filter of connections knows hosts by their names.
func (b *Boundary) listens() bool {
	named := func(d config.Destination) bool { return d.Name != "" }
	return b.asksHere() || len(b.localName)+len(b.remoteName) > 0 || slices.ContainsFunc(b.local, named) || slices.ContainsFunc(b.remote, named)
}

// ownServer is one of this machine's name servers; otherwise the one that was
// meant.
func (b *Boundary) ownServer(otherwise netip.AddrPort) netip.AddrPort {
	text, _ := os.ReadFile(b.here.resolver)
	if servers, _ := parseResolver(text); len(servers) > 0 {
		return netip.AddrPortFrom(servers[0], 53)
	}
	return otherwise
}

// answerWithin so long a question is waited for; resolvers ask again sooner.
const answerWithin = 10 * time.Second

// lifetime of an answer that was looked up here, in seconds: how long it really
// lives is not told.
const lifetime = 10

// dialogue is a flow of questions to one of the pod's name servers. Each is
// answered by the pod or by this machine, and the answers are read for the
// names by which addresses are known. It is a net.Conn of datagrams.
type dialogue struct {
	net.Conn // the pod's side; nil until it is needed
	b        *Boundary
	pod      func(context.Context) (net.Conn, error)

	ctx     context.Context
	cancel  context.CancelFunc
	answers chan []byte
	failed  chan error
	mu      sync.Mutex
	asking  sync.WaitGroup
}

func (b *Boundary) questions(ctx context.Context, pod func(context.Context) (net.Conn, error)) (net.Conn, error) {
	d := &dialogue{b: b, pod: pod, answers: make(chan []byte, 16), failed: make(chan error, 1)}
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return d, nil
}

// Write asks one question.
func (d *dialogue) Write(question []byte) (int, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(question)
	if err == nil && !header.Response {
		if asked, err := parser.Question(); err == nil {
			if here, as := d.b.place(asked.Name.String()); here {
				d.asking.Go(func() { d.answer(d.b.answerHere(d.ctx, header, asked, as, slices.Clone(question))) })
				return len(question), nil
			}
		}
	}
	conn, err := d.open()
	if err != nil {
		return 0, err
	}
	return conn.Write(question)
}

// open opens the pod's side, and has its answers read.
func (d *dialogue) open() (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Conn != nil || d.ctx.Err() != nil {
		return d.Conn, d.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(d.ctx, answerWithin)
	defer cancel()
	conn, err := d.pod(ctx)
	if err != nil {
		return nil, err
	}
	d.Conn = conn
	d.asking.Go(func() {
		buffer := make([]byte, tunnel.MaxDatagram)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				select {
				case d.failed <- err:
				default:
				}
				return
			}
			answer := slices.Clone(buffer[:n])
			d.b.heard(answer)
			d.answer(answer)
		}
	})
	return conn, nil
}

func (d *dialogue) answer(answer []byte) {
	if answer == nil {
		return // the resolver asks again
	}
	select {
	case d.answers <- answer:
	case <-d.ctx.Done():
	}
}

// Read gives the next answer.
func (d *dialogue) Read(p []byte) (int, error) {
	select {
	case answer := <-d.answers:
		return copy(p, answer), nil
	case err := <-d.failed:
		return 0, err
	case <-d.ctx.Done():
		return 0, net.ErrClosed
	}
}

// Close ends the flow.
func (d *dialogue) Close() error {
	d.cancel()
	d.mu.Lock()
	conn := d.Conn
	d.mu.Unlock()
	if conn != nil {
		return conn.Close()
	}
	return nil
}

// heard learns from an answer by which name its addresses were asked for.
func (b *Boundary) heard(answer []byte) {
	var message dnsmessage.Message
	if message.Unpack(answer) != nil || len(message.Questions) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, resource := range message.Answers {
		names := []string{message.Questions[0].Name.String(), resource.Header.Name.String()}
		switch body := resource.Body.(type) {
		case *dnsmessage.AResource:
			b.remember(netip.AddrFrom4(body.A), names...)
		case *dnsmessage.AAAAResource:
			b.remember(netip.AddrFrom16(body.AAAA), names...)
		}
	}
}

// answerHere answers a question as a program on this machine would have got it
// answered. Addresses are looked up by every means that this machine has, its
// hosts file too; other records are asked of its name server. It is nil where
// there is no answer.
func (b *Boundary) answerHere(ctx context.Context, header dnsmessage.Header, asked dnsmessage.Question, as string, question []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if asked.Type != dnsmessage.TypeA && asked.Type != dnsmessage.TypeAAAA {
		return b.askServer(ctx, question)
	}
	// Without a dot at its end: with one the hosts file is not looked at.
	found, err := b.here.names.LookupNetIP(ctx, "ip", as)
	header.Response, header.RecursionAvailable, header.Authoritative = true, true, false
	header.RCode = dnsmessage.RCodeSuccess
	var of *net.DNSError
	switch {
	case errors.As(err, &of) && of.IsNotFound:
		header.RCode = dnsmessage.RCodeNameError
	case err != nil:
		header.RCode = dnsmessage.RCodeServerFailure
	}
	builder := dnsmessage.NewBuilder(nil, header)
	builder.EnableCompression()
	if builder.StartQuestions() != nil || builder.Question(asked) != nil || builder.StartAnswers() != nil {
		return nil
	}
	b.mu.Lock()
	for _, address := range found {
		b.remember(address, as, asked.Name.String())
	}
	b.mu.Unlock()
	of4 := dnsmessage.ResourceHeader{Name: asked.Name, Class: asked.Class, TTL: lifetime}
	for _, address := range found {
		address = address.Unmap()
		switch {
		case asked.Type == dnsmessage.TypeA && address.Is4():
			err = builder.AResource(of4, dnsmessage.AResource{A: address.As4()})
		case asked.Type == dnsmessage.TypeAAAA && address.Is6():
			err = builder.AAAAResource(of4, dnsmessage.AAAAResource{AAAA: address.WithZone("").As16()})
		default:
			err = nil
		}
		if err != nil {
			return nil
		}
	}
	answer, err := builder.Finish()
	if err != nil {
		return nil
	}
	return answer
}

// askServer passes a question on to this machine's own name server.
func (b *Boundary) askServer(ctx context.Context, question []byte) []byte {
	server := b.ownServer(netip.AddrPort{})
	if !server.IsValid() {
		return nil
	}
	conn, err := b.here.dialer.DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write(question); err != nil {
		return nil
	}
	answer := make([]byte, tunnel.MaxDatagram)
	n, err := conn.Read(answer)
	if err != nil {
		return nil
	}
	return answer[:n]
}
