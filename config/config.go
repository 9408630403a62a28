// Package config says what a session should do, and reads it from wherever a
// person said it: flags, the environment and a file, in this order of
// precedence.
//
// There is one vocabulary, that of the keys of a file, and one type for it:
// Config. What else somebody may have written, in this tool's files or in
// those of the one they come from, is decided in package decision; finding and
// parsing files is in package source.
//
// It decides nothing about the cluster and does not know it.
package config

import (
	"slices"
	"strings"
	"time"
)

// Takeover says how the target is kept from consuming.
type Takeover string

// The takeovers.
const (
	// TakeoverNone attaches to one pod of the target and leaves it running; without a target
	// the process is in the cluster's network and in nothing's place.
	TakeoverNone Takeover = "none"
	// TakeoverCopy makes a stand-in and leaves the target as it is.
	TakeoverCopy Takeover = "copy"
	// TakeoverScaleDown makes a stand-in and holds the target at zero.
	TakeoverScaleDown Takeover = "scale-down"
	// TakeoverFreeze freezes the target's container.
	TakeoverFreeze Takeover = "freeze"
)

// Values are the takeovers that can be asked for.
func (Takeover) Values() []string {
	return words(TakeoverCopy, TakeoverScaleDown, TakeoverFreeze, TakeoverNone)
}

// Progress says how a run shows what it does, on stderr.
type Progress string

// The forms of progress.
const (
	// ProgressAuto is tty on a terminal, else plain.
	ProgressAuto Progress = "auto"
	// ProgressTTY is a tree that lives.
	ProgressTTY Progress = "tty"
	// ProgressPlain is lines that stay.
	ProgressPlain Progress = "plain"
	// ProgressJSON is a line of JSON for each event.
	ProgressJSON Progress = "json"
	// ProgressQuiet is errors alone.
	ProgressQuiet Progress = "quiet"
)

// Values are the forms that there are.
func (Progress) Values() []string {
	return words(ProgressAuto, ProgressTTY, ProgressPlain, ProgressJSON, ProgressQuiet)
}

// What a lease may be; the same bounds as the Session resource has.
const (
	DefaultLease = time.Minute
	MinLease     = 5 * time.Second
	MaxLease     = time.Hour
)

// How long a session may take to become ready; the same bounds as the Session
// resource has.
const (
	DefaultSetupTimeout = 2 * time.Minute
	MinSetupTimeout     = 5 * time.Second
	MaxSetupTimeout     = time.Hour
)

// Config is what one session should do. A field's key is where a file says it.
type Config struct {
	// File is the file that was read; empty where there was none.
	File string `key:"-"`
	// Notices are what the person should know who wrote what was read.
	Notices []string `key:"-"`
	// Paused: a takeover of TakeoverFreeze was asked for by the legacy pause,
	// and becomes what Pause makes of it.
	Paused bool `key:"-"`

	// Target as a person names it: deployment/NAME[/container/NAME].
	Target string `key:"target.path"`
	// Namespace of the target; empty for the kubeconfig's own.
	Namespace string `key:"target.namespace"`
	// Context of the kubeconfig; empty for the current one.
	Context string `key:"kube_context"`
	// Kubeconfig is the file; empty for kubectl's own choice.
	Kubeconfig string `key:"kubeconfig"`
	// AcceptInvalidCertificates: the API server's certificate is not verified.
	AcceptInvalidCertificates bool `key:"accept_invalid_certificates"`
	// Operator says whether an operator may be used; nil where nobody said.
	Operator *bool `key:"operator"`
	// AgentNamespace is where the agent of a freeze is made that no operator
	// makes; empty for the target's own.
	AgentNamespace string `key:"agent.namespace"`
	// AgentImage is that agent's; empty for the one that this program was
	// released with.
	AgentImage string `key:"agent_image"`
	// Agent is what the agent's pod is to have.
	Agent Agent `key:"agent"`
	// Key is the session's name in templates; empty where nobody gave it one.
	Key string `key:"key"`

	// Takeover is how the target is kept from consuming.
	Takeover Takeover `key:"takeover"`
	// ExcludeContainers are the containers that the stand-in goes without; "*"
	// is all but the target's.
	ExcludeContainers []string `key:"feature.copy_target.exclude_containers"`
	// ExcludeInitContainers are the init containers that it goes without; "*"
	// is all.
	ExcludeInitContainers []string `key:"feature.copy_target.exclude_init_containers"`
	// ShareTraffic lets the stand-in of a copy take its share of the Services'
	// traffic.
	ShareTraffic bool `key:"share_traffic"`
	// ReleaseConnections: the connections of what is frozen are cut, so that a
	// broker gives to others what it had delivered to it.
	ReleaseConnections bool `key:"release_connections"`
	// RestartOK lets a target be held whose pods lose what they have done so far:
	// a Job.
	RestartOK bool `key:"restart_ok"`
	// Wait queues behind whoever holds the target.
	Wait bool `key:"wait"`
	// Listen are the ports that may be opened in the cluster beside those that
	// the container declares, its probes use or a Service targets.
	Listen Listen `key:"listen"`
	// Lease is how long the session lives on without this machine.
	Lease time.Duration `key:"lease"`
	// SetupTimeout is how long the session may take to become ready before it
	// is rolled back; the old pods' grace period is added.
	SetupTimeout time.Duration `key:"setup_timeout"`

	Env      Env      `key:"feature.env"`
	Files    Files    `key:"feature.fs"`
	Incoming Incoming `key:"feature.network.incoming"`
	Outgoing Outgoing `key:"feature.network.outgoing"`
	Names    Names    `key:"feature.network.dns"`
	// Hostname: the process sees the pod's hostname.
	Hostname bool `key:"feature.hostname"`

	// Verbose shows details.
	Verbose bool `key:"verbose"`
	// Progress is how the run shows what it does.
	Progress Progress `key:"progress"`
}

// Env is what becomes of the container's environment.
type Env struct {
	// Include are patterns of the only names that are taken; with none, all but
	// those that are left out by default.
	Include []string `key:"include"`
	// Exclude are patterns of names that are not taken.
	Exclude []string `key:"exclude"`
	// Mapping gives the container's variables whose names match a regular
	// expression another value.
	Mapping map[string]string `key:"mapping"`
	// File of NAME=value lines, over the container's.
	File string `key:"env_file"`
	// Override are variables over all others.
	Override map[string]string `key:"override"`
	// Unset are names that the process does not get, in any case of letters.
	Unset []string `key:"unset"`
}

// FileMode says whose files the process sees.
type FileMode string

// The modes.
const (
	// FilesRead: the container's files are read, but for this machine's system
	// and the user's own.
	FilesRead FileMode = "read"
	// FilesWrite: as FilesRead, and they are written, but for what ReadOnly alone names.
	FilesWrite FileMode = "write"
	// FilesLocal: all files are this machine's.
	FilesLocal FileMode = "local"
	// FilesLocalWithOverrides: this machine's, but for what ReadOnly and ReadWrite
	// name.
	FilesLocalWithOverrides FileMode = "localwithoverrides"
)

// Values are the modes that there are.
func (FileMode) Values() []string {
	return words(FilesRead, FilesWrite, FilesLocal, FilesLocalWithOverrides)
}

// Files is what becomes of the container's files.
type Files struct {
	Mode FileMode `key:"mode"`
	// ReadOnly are regular expressions of paths that are the container's in any
	// mode, and are not written where ReadWrite does not name them. Case is the same
	// to these four lists.
	ReadOnly []string `key:"read_only"`
	// ReadWrite are regular expressions of paths that are the container's in any
	// mode, and may be written, whatever ReadOnly says.
	ReadWrite []string `key:"read_write"`
	// Local are regular expressions of paths that are this machine's in any
	// mode.
	Local []string `key:"local"`
	// NotFound are regular expressions of paths that the process does not find,
	// in any mode but local.
	NotFound []string `key:"not_found"`
	// Mapping leads paths that match a regular expression to others, whose they
	// then are: the expression to its replacement, with $1 for what is captured.
	Mapping map[string]string `key:"mapping"`
}

// IncomingMode says what becomes of connections to the target.
type IncomingMode string

// The modes.
const (
	IncomingOff   IncomingMode = "off"
	IncomingSteal IncomingMode = "steal"
	// IncomingMirror is known and not served yet.
	IncomingMirror IncomingMode = "mirror"
)

// Values are the modes that there are.
func (IncomingMode) Values() []string {
	return words(IncomingSteal, IncomingOff, IncomingMirror)
}

// Incoming is what becomes of connections that come in.
type Incoming struct {
	Mode IncomingMode `key:"mode"`
	// Ports are the only ones that are opened in the cluster, by their numbers
	// there; with none, all that may be.
	Ports []uint16 `key:"ports"`
	// IgnorePorts are not opened in the cluster.
	IgnorePorts []uint16 `key:"ignore_ports"`
	// PortMapping: the process listens on a port for connections to another.
	PortMapping []PortPair `key:"port_mapping"`
	// ListenPorts: a port on which the process listens is published on another
	// of this machine's 127.0.0.1.
	ListenPorts []PortPair `key:"listen_ports"`
	// IgnoreLocalhost: ports on which the process listens on loopback only are
	// not opened to the pod's other containers.
	IgnoreLocalhost bool `key:"ignore_localhost"`
}

// PortPair is a port of the local process, and the one that it stands for.
type PortPair [2]uint16

// Filter divides destinations or names into those of this machine and those of
// the pod. At most one of the two is there: all others are the other's.
type Filter struct {
	Local  []string `key:"local"`
	Remote []string `key:"remote"`
}

// Outgoing is what becomes of connections that go out.
type Outgoing struct {
	// TCP and UDP go out from the pod.
	TCP bool `key:"tcp"`
	UDP bool `key:"udp"`
	// IgnoreLocalhost: 127.0.0.1 is this machine's, not the pod's.
	IgnoreLocalhost bool   `key:"ignore_localhost"`
	Filter          Filter `key:"filter"`
}

// Names is how names are looked up.
type Names struct {
	// Enabled: as in the pod.
	Enabled bool   `key:"enabled"`
	Filter  Filter `key:"filter"`
}

// Listen is a set of ports, or all of them.
type Listen struct {
	All   bool
	Ports []int32
}

// defaults are what holds where nobody says anything.
func defaults() form {
	return form{Config: Config{
		Takeover: TakeoverNone, ReleaseConnections: true, Progress: ProgressAuto, Lease: DefaultLease, SetupTimeout: DefaultSetupTimeout,
		Files: Files{Mode: FilesRead}, Incoming: Incoming{Mode: IncomingSteal},
		Outgoing: Outgoing{TCP: true, UDP: true}, Names: Names{Enabled: true}, Hostname: true,
	}}
}

// form is what can be said in a file, which is more than what is resolved.
type form struct {
	Config `key:""`
	// These become the takeover.
	Pause     bool `key:"pause"`
	CopyTo    bool `key:"feature.copy_target.enabled"`
	ScaleDown bool `key:"feature.copy_target.scale_down"`
}

// NoTarget is how a person says that there is no target.
const NoTarget = "targetless"

// Targetless says whether there is no target, and none is needed.
func (c *Config) Targetless() bool {
	return c.Takeover == TakeoverNone && (c.Target == "" || c.Target == NoTarget)
}

// Alone says whether no operator may be used.
func (c *Config) Alone() bool { return c.Operator != nil && !*c.Operator }

// SplitTarget gives a target's kind and name, both as they were written.
func (c *Config) SplitTarget() (kind, name string) {
	parts := strings.Split(c.Target, "/")
	if len(parts) < 2 {
		return "", c.Target
	}
	return strings.ToLower(parts[0]), parts[1]
}

func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = string(value)
	}
	return slices.Clip(out)
}
