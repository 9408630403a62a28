package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Started is what a player says first.
type Started struct {
	// At is when its process ran, by the machine's clock.
	At time.Time `json:"at"`
}

// played is what a player answers to a request.
type played struct {
	Answer
	Error string `json:"error,omitempty"`
	// At is when it ended, to the request to end.
	At time.Time `json:"at"`
}

// end is the request to say the time and exit.
const end = "end"

// Play is the process that is measured from within: it connects to a director's
// unix socket, says since when it runs, and measures what it is asked to, by
// connections of its own, until it is asked to end.
func Play(ctx context.Context, socket string, started time.Time) error {
	director, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("finding the director: %w", err)
	}
	defer director.Close()
	defer context.AfterFunc(ctx, func() { director.Close() })()
	out := json.NewEncoder(director)
	if err := out.Encode(Started{At: started}); err != nil {
		return fmt.Errorf("telling the director: %w", err)
	}
	in := json.NewDecoder(director)
	for {
		var r Request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("listening to the director: %w", err)
		}
		if r.What == end {
			return out.Encode(played{At: time.Now()})
		}
		var p played
		p.Answer, err = Measure(ctx, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", r.Address)
		}, r)
		if err != nil {
			p.Error = err.Error()
		}
		if err := out.Encode(p); err != nil {
			return fmt.Errorf("telling the director: %w", err)
		}
	}
}

// Director waits for players at a unix socket.
type Director struct{ l *net.UnixListener }

// Direct listens at the path, where every user of the machine may connect.
func Direct(path string) (*Director, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening for players: %w", err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, fmt.Errorf("letting players in: %w", errors.Join(err, l.Close()))
	}
	return &Director{l}, nil
}

// Close stops listening and removes the socket.
func (d *Director) Close() error { return d.l.Close() }

// Player is one that has come.
type Player struct {
	// Started is when its process ran.
	Started time.Time
	conn    net.Conn
	in      *json.Decoder
}

// Wait returns the next player that comes.
func (d *Director) Wait(ctx context.Context) (*Player, error) {
	defer context.AfterFunc(ctx, func() { d.l.SetDeadline(time.Now()) })()
	conn, err := d.l.Accept()
	if err != nil {
		return nil, fmt.Errorf("waiting for a player: %w", errors.Join(context.Cause(ctx), err))
	}
	p := &Player{conn: conn, in: json.NewDecoder(conn)}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var hello Started
	if err := p.in.Decode(&hello); err != nil {
		conn.Close()
		return nil, fmt.Errorf("waiting for a player to speak: %w", err)
	}
	p.Started = hello.At
	return p, nil
}

// Measure has the player take one measurement.
func (p *Player) Measure(ctx context.Context, r Request) (Answer, error) {
	a, err := p.ask(ctx, r)
	return a.Answer, err
}

// End has the player's process end, and returns when it said so.
func (p *Player) End(ctx context.Context) (time.Time, error) {
	defer p.conn.Close()
	a, err := p.ask(ctx, Request{What: end})
	return a.At, err
}

func (p *Player) ask(ctx context.Context, r Request) (played, error) {
	defer context.AfterFunc(ctx, func() { p.conn.Close() })()
	var a played
	if err := json.NewEncoder(p.conn).Encode(r); err != nil {
		return a, fmt.Errorf("asking the player for %s: %w", r.What, errors.Join(context.Cause(ctx), err))
	}
	if err := p.in.Decode(&a); err != nil {
		return a, fmt.Errorf("waiting for the player's %s: %w", r.What, errors.Join(context.Cause(ctx), err))
	}
	if a.Error != "" {
		return a, fmt.Errorf("the player: %s", a.Error)
	}
	return a, nil
}
