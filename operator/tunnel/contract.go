package tunnel

import (
	"errors"
	"net/netip"
)

// Welcome is what the agent tells the owner's end once, in answer to the
// hello: all that the stage is built from.
type Welcome struct {
	// Hostname of the pod.
	Hostname string `json:"hostname"`
	// Addresses of the pod, in the order of its status; without loopback.
	Addresses []netip.Addr `json:"addresses"`
	// Environment of the replaced container, as "KEY=value", with the
	// cluster's own variables and nothing of the agent's. Any bytes.
	Environment []string `json:"environment"`
	// WorkingDir of the replaced container.
	WorkingDir string `json:"workingDir"`
	// Files are the pod's own /etc/resolv.conf, /etc/hosts and the like, whole.
	Files []File `json:"files"`
	// Mounts are the config maps, secrets, downward API and projected volumes
	// (tokens too) that are mounted into the replaced container. Their content
	// is read with Client.ReadTree.
	Mounts []Mount `json:"mounts"`
	// RemoteFiles says that the agent reads any file of the container. One that
	// is older does not say so.
	RemoteFiles bool `json:"remoteFiles,omitempty"`
	// WritesFiles says that it changes them, too.
	WritesFiles bool `json:"writesFiles,omitempty"`
	// Ports that the container declares, its probes use or a Service targets,
	// and those that the session asked for: all that may be opened.
	Ports []Port `json:"ports"`
	// ListenAll says that every port may be opened.
	ListenAll bool `json:"listenAll,omitempty"`
	// LoopbackPorts are the ports that other containers of the pod listen on
	// now; a LoopbackPorts event says when they change.
	LoopbackPorts []Endpoint `json:"loopbackPorts"`
}

// File is one small regular file.
type File struct {
	// Path in the container, absolute and clean; in a tree relative to the
	// mount, with "/" between the parts.
	Path string `json:"path"`
	// Mode holds the permission bits.
	Mode uint32 `json:"mode"`
	// Data is the content, at most MaxFileSize bytes.
	Data []byte `json:"data"`
}

// Mount is one mounted volume of the replaced container whose content the
// owner's end keeps a copy of.
type Mount struct {
	// Path in the container.
	Path string `json:"path"`
	// File says that Path is a single file (subPath), not a directory.
	File bool `json:"file,omitempty"`
	// Version changes when the content does.
	Version string `json:"version"`
}

// Port is one port that may be opened in the cluster.
type Port struct {
	Network string `json:"network"` // "tcp" or "udp"
	Port    uint16 `json:"port"`
	// Why: "declared", "probed", "service" or "asked", comma-separated.
	Why string `json:"why"`
}

// Endpoint is one listening socket of the pod.
type Endpoint struct {
	Network string     `json:"network"` // "tcp" or "udp"
	Addr    netip.Addr `json:"addr"`
	Port    uint16     `json:"port"`
}

// ListenRequest asks the agent to open a port in the cluster.
type ListenRequest struct {
	Network string `json:"network"` // "tcp" or "udp"
	Port    uint16 `json:"port"`
	// Loopback opens the port on the pod's loopback only.
	Loopback bool `json:"loopback,omitempty"`
	// Addrs at which the port is opened, at most MaxListenAddrs: of the pod's
	// loopback, its own, or 0.0.0.0 and :: for all of a family. One that the pod
	// does not have is left out if it has another. Default: all of both families,
	// with Loopback 127.0.0.1.
	Addrs []netip.Addr `json:"addrs,omitempty"`
}

// What a dial in the pod's network can come to, apart from success. The stage
// tells each apart to the local process; test with errors.Is.
var (
	ErrRefused     = errors.New("connection refused")
	ErrUnreachable = errors.New("no route to host")
	ErrTimeout     = errors.New("connection timed out")
	// ErrForbidden: the port is not one that may be opened.
	ErrForbidden = errors.New("port may not be opened in the cluster")
	// ErrInUse: another container of the pod listens on the port.
	ErrInUse = errors.New("address already in use")
	// ErrClosed: the tunnel has ended.
	ErrClosed = errors.New("tunnel closed")
)
