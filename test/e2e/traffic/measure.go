package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Dial opens a new connection to the server.
type Dial func(context.Context) (net.Conn, error)

// What can be measured.
const (
	// Connect is the time until the far end has acknowledged a new connection.
	Connect = "connect"
	// RoundTrip is one byte there and back on an open connection.
	RoundTrip = "round trip"
	// Up and Down are the time that Bytes take, acknowledged by the far end.
	Up   = "up"
	Down = "down"
	// Beside is RoundTrip while a second connection pours down as fast as it
	// can.
	Beside = "beside"
)

// unmeasured is how many round trips go before the first one that counts.
const unmeasured = 20

// poured is what the bulk stream has to have brought before Beside begins: more
// than any window on the way.
const poured = 8 << 20

// Request is one measurement.
type Request struct {
	What string `json:"what"`
	// Address of the server, for who dials by himself.
	Address string `json:"address,omitempty"`
	// Count of times that are taken by Connect, RoundTrip and Beside.
	Count int `json:"count,omitempty"`
	// Bytes that Up and Down move.
	Bytes int64 `json:"bytes,omitempty"`
}

// Answer is what was measured.
type Answer struct {
	// Times, one for each of Count, or one.
	Times []time.Duration `json:"times,omitempty"`
	// Rate of the bulk stream in bytes for each second: Up, Down and Beside.
	Rate float64 `json:"rate,omitempty"`
}

// Measure takes one measurement. It ends with the context.
func Measure(ctx context.Context, dial Dial, r Request) (Answer, error) {
	a, err := measure(ctx, dial, r)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return a, fmt.Errorf("measuring %s: %w", r.What, err)
	}
	return a, nil
}

func measure(ctx context.Context, dial Dial, r Request) (Answer, error) {
	switch r.What {
	case Connect:
		return connects(ctx, dial, r.Count)
	case RoundTrip:
		conn, stop, err := begin(ctx, dial, echo, 0)
		if err != nil {
			return Answer{}, err
		}
		defer stop()
		times, err := roundTrips(conn, r.Count)
		return Answer{Times: times}, err
	case Up, Down:
		return bulk(ctx, dial, r)
	case Beside:
		return beside(ctx, dial, r.Count)
	}
	return Answer{}, errors.New("it is not known how")
}

// open dials and waits for the far end's own byte. stop closes.
func open(ctx context.Context, dial Dial) (net.Conn, func(), error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	watching := context.AfterFunc(ctx, func() { conn.Close() })
	stop := func() {
		watching()
		conn.Close()
	}
	var one [1]byte
	if _, err := io.ReadFull(conn, one[:]); err != nil {
		stop()
		return nil, nil, fmt.Errorf("waiting for the far end: %w", err)
	}
	return conn, stop, nil
}

func begin(ctx context.Context, dial Dial, what byte, length int64) (net.Conn, func(), error) {
	conn, stop, err := open(ctx, dial)
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint64([]byte{what}, uint64(length))); err != nil {
		stop()
		return nil, nil, err
	}
	return conn, stop, nil
}

func connects(ctx context.Context, dial Dial, n int) (Answer, error) {
	var a Answer
	for range n {
		began := time.Now()
		_, stop, err := open(ctx, dial)
		if err != nil {
			return a, err
		}
		a.Times = append(a.Times, time.Since(began))
		stop()
	}
	return a, nil
}

func roundTrips(conn net.Conn, n int) ([]time.Duration, error) {
	times := make([]time.Duration, 0, n)
	one := []byte{'.'}
	for i := range unmeasured + n {
		began := time.Now()
		if _, err := conn.Write(one); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, one); err != nil {
			return nil, err
		}
		if i >= unmeasured {
			times = append(times, time.Since(began))
		}
	}
	return times, nil
}

func bulk(ctx context.Context, dial Dial, r Request) (Answer, error) {
	what, bytes := byte(up), r.Bytes
	if r.What == Down {
		what = down
	}
	conn, stop, err := open(ctx, dial)
	if err != nil {
		return Answer{}, err
	}
	defer stop()
	began := time.Now()
	if _, err := conn.Write(binary.BigEndian.AppendUint64([]byte{what}, uint64(bytes))); err != nil {
		return Answer{}, err
	}
	buffer := make([]byte, chunk)
	for left := bytes; left > 0 && what == up; {
		n, err := conn.Write(buffer[:min(left, chunk)])
		if left -= int64(n); err != nil {
			return Answer{}, err
		}
	}
	want := bytes
	if what == up {
		want = 1 // the acknowledgement
	}
	got, err := io.CopyBuffer(io.Discard, io.LimitReader(conn, want), buffer)
	if err != nil {
		return Answer{}, err
	}
	if got != want {
		return Answer{}, fmt.Errorf("it ended after %d of %d bytes", got, want)
	}
	took := time.Since(began)
	return Answer{Times: []time.Duration{took}, Rate: float64(bytes) / took.Seconds()}, nil
}

func beside(ctx context.Context, dial Dial, n int) (Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	small, stopSmall, err := begin(ctx, dial, echo, 0)
	if err != nil {
		return Answer{}, err
	}
	defer stopSmall()
	large, stopLarge, err := begin(ctx, dial, down, 1<<62)
	if err != nil {
		return Answer{}, err
	}
	defer stopLarge()
	flowing := make(chan struct{})
	measured := make(chan struct{})
	brought := make(chan int64, 1)
	go func() {
		total, counted := int64(0), int64(0)
		begun := false
		buffer := make([]byte, chunk)
		for {
			got, err := large.Read(buffer)
			total += int64(got)
			if begun {
				counted += int64(got)
			}
			if !begun && total >= poured {
				begun = true
				close(flowing)
			}
			select {
			case <-measured:
				brought <- counted
				return
			default:
			}
			if err != nil {
				cancel(fmt.Errorf("the bulk stream: %w", err))
				brought <- counted
				return
			}
		}
	}()
	select {
	case <-flowing:
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
	began := time.Now()
	times, err := roundTrips(small, n)
	took := time.Since(began)
	close(measured)
	if err != nil {
		return Answer{}, errors.Join(context.Cause(ctx), err)
	}
	return Answer{Times: times, Rate: float64(<-brought) / took.Seconds()}, nil
}
