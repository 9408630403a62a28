// Package link carries one byte stream from the developer's machine to a port
// on a pod's loopback: a port-forward through the API server, without a
// listener on this machine.
//
// It is how the tunnel reaches the agent: the API server authenticates the
// user, checks its right to pods/portforward and writes its audit log, and
// nothing of the pod is exposed. What runs inside is not looked at here.
//
// As kubectl does, it asks for SPDY inside a websocket and falls back to bare
// SPDY where a server or a proxy on the way does not know that.
package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream"
	httpstreamspdy "k8s.io/apimachinery/pkg/util/httpstream/spdy"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"
	streamhttp "k8s.io/streaming/pkg/httpstream"
)

const (
	// pingEvery keeps an idle stream alive across load balancers.
	pingEvery = 10 * time.Second
	// forbiddenFor is how long a refusal for lack of rights is tried again:
	// the operator has just given the right, and each API server's cache of
	// roles follows by a watch.
	forbiddenFor = 10 * time.Second
	// forbiddenEvery is the pause between those tries.
	forbiddenEvery = 100 * time.Millisecond
)

// Destination is one port on the loopback of one pod.
type Destination struct {
	Pod  string
	Port int32
}

// Dialer opens streams. Its methods may be called from any goroutine.
type Dialer struct {
	// Config says how the API server is reached.
	Config *rest.Config
	// Namespace of the pods.
	Namespace string
	// ForbiddenFor is how long a refusal for lack of rights is tried again;
	// ten seconds by default.
	ForbiddenFor time.Duration
}

// Dial opens a stream to the destination. The context covers the setting up
// only, not the stream's life. An error of the API server's is found with
// errors.As as an *apierrors.StatusError. A port on which nothing listens is
// not an error of Dial but of the first Read, as the pod's node tells it late.
func (d *Dialer) Dial(ctx context.Context, to Destination) (net.Conn, error) {
	patience := d.ForbiddenFor
	if patience == 0 {
		patience = forbiddenFor
	}
	tried := time.Now()
	for {
		conn, err := d.dial(ctx, to)
		if err == nil {
			return conn, nil
		}
		err = fmt.Errorf("opening a stream to pod %s/%s: %w", d.Namespace, to.Pod, err)
		if !apierrors.IsForbidden(err) || time.Since(tried) > patience {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(forbiddenEvery):
		}
	}
}

func (d *Dialer) dial(ctx context.Context, to Destination) (net.Conn, error) {
	target, err := d.url(to.Pod)
	if err != nil {
		return nil, err
	}
	conn, bottom, err := d.overWebsocket(ctx, target)
	if fallBack(err) {
		conn, err = d.overSPDY(ctx, target)
	}
	if err != nil {
		return nil, cause(err)
	}
	stream, err := open(ctx, conn, bottom, to.Port)
	if err != nil {
		closeBoth(conn, bottom)
		return nil, err
	}
	return stream, nil
}

// url is the address of the pod's port-forward subresource.
func (d *Dialer) url(pod string) (*url.URL, error) {
	config := rest.CopyConfig(d.Config)
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.APIPath = "/api"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client.Post().Namespace(d.Namespace).Resource("pods").Name(pod).SubResource("portforward").URL(), nil
}

// overWebsocket gives the SPDY connection and what it runs in. Closing the
// latter ends both at once, also when the network takes nothing any more.
func (d *Dialer) overWebsocket(ctx context.Context, target *url.URL) (httpstream.Connection, net.Conn, error) {
	transport, holder, err := websocket.RoundTripperFor(d.Config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a transport: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("making a request: %w", err)
	}
	const protocol = constants.WebsocketsSPDYTunnelingPrefix + constants.PortForwardV1Name
	ws, err := websocket.Negotiate(transport, holder, req, protocol)
	if err != nil {
		return nil, nil, err
	}
	bottom := &messages{ws: ws}
	conn, err := httpstreamspdy.NewClientConnectionWithPings(bottom, pingEvery)
	if err != nil {
		return nil, nil, err // the connection is closed already
	}
	return conn, bottom, nil
}

func (d *Dialer) overSPDY(ctx context.Context, target *url.URL) (httpstream.Connection, error) {
	transport, upgrader, err := spdy.RoundTripperFor(d.Config)
	if err != nil {
		return nil, fmt.Errorf("making a transport: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	conn, protocol, err := spdy.Negotiate(upgrader, &http.Client{Transport: transport}, req, constants.PortForwardV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != constants.PortForwardV1Name {
		_ = conn.Close()
		return nil, fmt.Errorf("the server speaks %q, not %q", protocol, constants.PortForwardV1Name)
	}
	return conn, nil
}

// fallBack says whether err is of the kind that bare SPDY may not have. A
// refusal by the API server itself is the same for both.
func fallBack(err error) bool {
	var status *apierrors.StatusError
	if err == nil || errors.As(cause(err), &status) {
		return false
	}
	return httpstream.IsUpgradeFailure(err) || streamhttp.IsUpgradeFailure(err) ||
		httpstream.IsHTTPSProxyError(err) || streamhttp.IsHTTPSProxyError(err)
}

// cause takes the API server's own answer out of a failed upgrade, which does
// not unwrap.
func cause(err error) error {
	var old *httpstream.UpgradeFailureError
	if errors.As(err, &old) && old.Cause != nil {
		return old.Cause
	}
	var streaming *streamhttp.UpgradeFailureError
	if errors.As(err, &streaming) && streaming.Cause != nil {
		return streaming.Cause
	}
	return err
}

// open makes the pair of streams of one forwarded connection.
func open(ctx context.Context, conn httpstream.Connection, bottom net.Conn, port int32) (net.Conn, error) {
	// Making a stream waits for the other end without a context.
	stop := context.AfterFunc(ctx, func() { closeBoth(conn, bottom) })
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := conn.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("making the error stream: %w", errors.Join(ctx.Err(), err))
	}
	_ = failures.Close() // our half: nothing is said there by us
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("making the data stream: %w", errors.Join(ctx.Err(), err))
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return newConn(conn, bottom, data, failures), nil
}

// closeBoth ends a connection. What is below goes first: closing SPDY writes,
// and would wait for a network that takes nothing.
func closeBoth(conn httpstream.Connection, bottom net.Conn) {
	if bottom != nil {
		_ = bottom.Close()
	}
	if conn != nil {
		_ = conn.Close()
	}
}
