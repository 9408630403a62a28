package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

// quit is how long the end may take after SIGTERM, before whatever is left is
// left to the kernel.
const quit = 800 * time.Millisecond

// serve serves the owner named in dir's configuration until ctx is done.
func serve(ctx context.Context, dir string, stderr io.Writer) error {
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	limitMemory(log, "/")
	config, key, err := settings.Load(dir)
	if err != nil {
		return err
	}
	probes, err := listenProbes(probeName(config.Port))
	if err != nil {
		return err
	}
	defer probes.Close()
	// Loopback only: what reaches it is what the API server lets through.
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), config.Port)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", addr.String())
	if err != nil {
		return fmt.Errorf("listening for the owner: %w", err)
	}
	pod := newPod(config, log)
	pod.own = dir
	go answerProbes(probes, pod.state.reason)
	server, err := tunnel.NewServer(tunnel.ServerConfig{
		Key:       key,
		ClientKey: config.ClientKey,
		Session:   config.Session,
		Handler:   pod,
		Lease:     time.Duration(config.LeaseSeconds) * time.Second,
		Log:       log,
	})
	if err != nil {
		listener.Close()
		return err
	}
	log.Info("agent serving", "session", config.Session, "address", addr.String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(quit)
	defer timer.Stop()
	select {
	case err := <-served:
		return err
	case <-timer.C:
		log.Warn("agent ended before all was closed")
		return nil
	}
}
