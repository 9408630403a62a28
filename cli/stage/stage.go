package stage

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"understudy.dev/understudy/operator/tunnel"
)

// Sentinels that callers branch on.
var (
	// ErrUnsupported: this operating system has no stage.
	ErrUnsupported = errors.New("running a local process in the place of a remote one needs Linux")
	// ErrForbidden: the kernel or its policy does not let this user make
	// namespaces. The text of the error that wraps it says what to change.
	ErrForbidden = errors.New("user namespaces are forbidden on this machine")
	// ErrFrontLost: the process that the shell started is gone, and the command
	// with it.
	ErrFrontLost = errors.New("the process that the shell started is gone")
	// ErrHandLost: the process that holds the stage is gone, and the command
	// with it.
	ErrHandLost = errors.New("the process that holds the stage was killed")
)

// SplitOptions say what the front does when it is left alone.
type SplitOptions struct {
	// LostExitCode is what the front exits with when the keeper died without
	// saying an exit code. Default 125.
	LostExitCode int
	// LostHint follows the error that the front prints then, as "hint: ...".
	// Default: none.
	LostHint string
}

// Device is how packets leave the stage.
type Device string

// The devices. DeviceAuto takes a TUN device where /dev/net/tun may be opened,
// otherwise a veth pair with a packet socket.
const (
	DeviceAuto Device = ""
	DeviceTUN  Device = "tun"
	DeviceVeth Device = "veth"
)

// Options of a stage. The zero value is a stage with the ports of the welcome.
type Options struct {
	// Welcome says what the stage looks like: hostname, addresses, files,
	// mounts, ports. Its Environment and WorkingDir are not looked at: those
	// are for whoever makes the Command.
	Welcome tunnel.Welcome
	// Dir is where the command will start, absolute; only to tell by OnNotice
	// that a mount hides it. Default: where the front was started.
	Dir string
	// DoNotPublish keeps listening ports off the developer's own 127.0.0.1.
	DoNotPublish bool
	// Publish gives the port of 127.0.0.1 where a port is published. Default:
	// the same.
	Publish func(port uint16) uint16
	// OnListening is called, one call at a time, when something in the stage
	// begins or ceases to listen, and again when opening the port has succeeded
	// or failed. Default: none.
	OnListening func(Listening)
	// OnNotice is called with what the user should know but what is no error:
	// a port that is taken on 127.0.0.1, a mount that hides the working
	// directory, a feature that this kernel lacks. Default: none.
	OnNotice func(Notice)
	// Files of the pod that are read when they are needed. Default: none but the
	// welcome's.
	Files Files
	// Device is for tests. Default DeviceAuto.
	Device Device
	// Log is for what no user is told. Default: discarded.
	Log *slog.Logger
}

// Notice is one remark for the user.
type Notice struct {
	// Text is a sentence without a full stop.
	Text string
	// Hint says what to do about it; may be empty.
	Hint string
}

// Reach says from where a listener can be reached in the cluster.
type Reach string

// From nowhere to everywhere.
const (
	// ReachNone: the port is not one that may be opened, or opening failed.
	ReachNone Reach = "none"
	// ReachPod: from the pod's other containers, on its loopback.
	ReachPod Reach = "pod"
	// ReachCluster: at the pod's address.
	ReachCluster Reach = "cluster"
)

// Listening is the state of one port on which something in the stage listens, or
// has ceased to. Of UDP only those ports are told that may be opened in the
// cluster: other sockets of UDP are mostly clients.
type Listening struct {
	Network string // "tcp" or "udp"
	Port    uint16
	// Loopback: the local process listens on loopback only.
	Loopback bool
	// Reach in the cluster.
	Reach Reach
	// Why the port may not be reached although something listens: ErrForbidden
	// or ErrInUse of package tunnel, or another. Nil where Reach is as asked.
	Why error
	// Published: connections to the developer's own 127.0.0.1 reach it. Never of
	// UDP.
	Published bool
	// Closed: nothing listens any more.
	Closed bool
}

// Name is how people call the port: "port 80", "UDP port 53".
func (l Listening) Name() string {
	if l.Network == "udp" {
		return fmt.Sprintf("UDP port %d", l.Port)
	}
	return fmt.Sprintf("port %d", l.Port)
}

// Command is what is run on the stage.
type Command struct {
	// Args are the name and arguments. A name without a slash is looked up in
	// the PATH of Env, inside the stage.
	Args []string
	// Env is the whole environment as "KEY=value".
	Env []string
	// Dir is where it starts, absolute. Default: where the front was started.
	Dir string
}

// Status is how the command ended.
type Status struct {
	// Code is the exit code, 0 to 255, when Signal is 0.
	Code int
	// Signal that ended it, or 0.
	Signal syscall.Signal
}

// ExitCode is what a shell would call it: the exit code, or 128 and the number
// of the signal.
func (s Status) ExitCode() int {
	if s.Signal != 0 {
		return 128 + int(s.Signal)
	}
	return s.Code
}

func (s Status) String() string {
	if s.Signal != 0 {
		return fmt.Sprintf("ended by signal %d (%s)", int(s.Signal), s.Signal)
	}
	return fmt.Sprintf("exited with code %d", s.Code)
}

// buildTimeout for all that the hand does before the command may run: a few
// milliseconds on a laptop, more where the kernel must load modules.
const buildTimeout = 30 * time.Second
