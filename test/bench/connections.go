package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/link"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/traffic"
)

// rounds is how often each measurement of a connection is taken, in turns with
// its floor, so that a change of the machine's load meets both.
const rounds = 7

// How much each round takes.
const (
	connects   = 30
	roundTrips = 500
	besides    = 200
	bulk       = 64 << 20
)

// connections measures what a local process sees of its connections.
func (b *bench) connections(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*time.Minute, fmt.Errorf("the connections took too long"))
	defer cancel()
	if err := b.cluster.Available(ctx, b.namespace, target, replicas); err != nil {
		return err
	}
	pod, err := b.cluster.PodOf(ctx, b.namespace, "far-end")
	if err != nil {
		return err
	}
	far, err := b.cluster.Client.CoreV1().Pods(b.namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the far end's pod: %w", err)
	}
	forward, local, err := b.kubectl(ctx, pod)
	if err != nil {
		return err
	}
	defer forward.Kill()
	s, err := b.exec(ctx, "deployment/"+target, "--copy-target", "--scale-down")
	if err != nil {
		return err
	}
	defer s.run.Kill()

	address := net.JoinHostPort(far.Status.PodIP, strconv.Itoa(traffic.Port))
	tunnel := func(ctx context.Context, r traffic.Request) (traffic.Answer, error) {
		r.Address = address
		return s.player.Measure(ctx, r)
	}
	dialer := &link.Dialer{Config: b.user.REST(), Namespace: b.namespace}
	raw := on(func(ctx context.Context) (net.Conn, error) {
		return dialer.Dial(ctx, link.Destination{Pod: pod, Port: traffic.Port})
	})
	kubectl := on(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", local)
	})
	if err := b.compare(ctx, tunnel, raw, kubectl); err != nil {
		return err
	}
	if _, err := s.player.End(ctx); err != nil {
		return err
	}
	return s.exit(ctx)
}

// road takes measurements of one way to the far end.
type road func(context.Context, traffic.Request) (traffic.Answer, error)

// on measures from this process.
func on(dial traffic.Dial) road {
	return func(ctx context.Context, r traffic.Request) (traffic.Answer, error) {
		return traffic.Measure(ctx, dial, r)
	}
}

// kubectl starts a real port-forward of the pod and returns where it listens.
func (b *bench) kubectl(ctx context.Context, pod string) (*developer.Run, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	run, err := b.dev.Start(b.dev.Program("kubectl"), "port-forward", "--address=127.0.0.1", "pod/"+pod, ":"+strconv.Itoa(traffic.Port))
	if err != nil {
		return nil, "", err
	}
	found, err := run.Out.Saw(ctx, `Forwarding from (127\.0\.0\.1:[0-9]+)`)
	if err != nil {
		run.Kill()
		return nil, "", fmt.Errorf("%w\n%s", err, run)
	}
	return run, found[1], nil
}

// pair is a figure and its floor, taken in turns.
type pair struct{ ours, floor sample }

func (b *bench) compare(ctx context.Context, tunnel, raw, kubectl road) error {
	var connect, trip, up, down, besideMedian, besideTail pair
	var rates pair
	take := func(p *pair, floor road, r traffic.Request, figure func(traffic.Answer) float64) error {
		for _, way := range []struct {
			road
			sample *sample
		}{{floor, &p.floor}, {tunnel, &p.ours}} {
			a, err := way.road(ctx, r)
			if err != nil {
				return err
			}
			*way.sample = append(*way.sample, figure(a))
		}
		return nil
	}
	median := func(a traffic.Answer) float64 { return durations(a).median() }
	rate := func(a traffic.Answer) float64 { return a.Rate }
	for i := range rounds {
		b.say("connections, round %d of %d", i+1, rounds)
		for _, do := range []func() error{
			func() error {
				return take(&connect, kubectl, traffic.Request{What: traffic.Connect, Count: connects}, median)
			},
			func() error {
				return take(&trip, raw, traffic.Request{What: traffic.RoundTrip, Count: roundTrips}, median)
			},
			func() error { return take(&up, raw, traffic.Request{What: traffic.Up, Bytes: bulk}, rate) },
			func() error { return take(&down, raw, traffic.Request{What: traffic.Down, Bytes: bulk}, rate) },
			func() error { return beside(ctx, raw, &besideMedian.floor, &besideTail.floor, &rates.floor) },
			func() error { return beside(ctx, tunnel, &besideMedian.ours, &besideTail.ours, &rates.ours) },
		} {
			if err := do(); err != nil {
				return err
			}
		}
	}
	b.rows = append(b.rows,
		row{"new connection, acknowledged by the far end", "one more through kubectl port-forward", connect.ours, connect.floor, milliseconds, timesAtMost(1.0 / 3)},
		row{"throughput, up", "raw port-forward stream", up.ours, up.floor, megabytes, timesAtLeast(0.9)},
		row{"throughput, down", "raw port-forward stream", down.ours, down.floor, megabytes, timesAtLeast(0.9)},
		row{"round trip of 1 byte, p50", "raw port-forward stream", trip.ours, trip.floor, microseconds, timesAtMost(1.2)},
		row{"the same beside a bulk stream, p50", "two raw port-forward streams", besideMedian.ours, besideMedian.floor, microseconds, timesAtMost(1.2)},
		row{"the same beside a bulk stream, p99", "two raw port-forward streams", besideTail.ours, besideTail.floor, microseconds, timesAtMost(1.2)},
	)
	b.notes = append(b.notes, fmt.Sprintf(
		"Beside a bulk stream a round trip takes %.1f times (p50) and %.1f times (p99) as long as alone; over two raw streams %.1f and %.1f times. The bulk stream brings %s meanwhile, the raw one %s.",
		besideMedian.ours.median()/trip.ours.median(), besideTail.ours.median()/trip.ours.median(),
		besideMedian.floor.median()/trip.floor.median(), besideTail.floor.median()/trip.floor.median(),
		megabytes.of(rates.ours.median()), megabytes.of(rates.floor.median())))
	return nil
}

// beside takes one round of a small stream beside a large one.
func beside(ctx context.Context, way road, median, tail, rate *sample) error {
	a, err := way(ctx, traffic.Request{What: traffic.Beside, Count: besides})
	if err != nil {
		return err
	}
	*median = append(*median, durations(a).median())
	*tail = append(*tail, durations(a).quantile(0.99))
	*rate = append(*rate, a.Rate)
	return nil
}

func durations(a traffic.Answer) sample {
	var s sample
	s.times(a.Times...)
	return s
}
