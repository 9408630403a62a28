package stage

import (
	"errors"
	"io/fs"
	"net/netip"
	"syscall"

	"understudy.dev/understudy/cli/stage/network"
	"understudy.dev/understudy/cli/stage/root"
	"understudy.dev/understudy/operator/tunnel"
)

// What the keeper and the front tell each other.
type frontMessage struct {
	// Hello: the front is one, and passes on signals.
	Hello bool `json:"hello,omitempty"`
	// Build asks for a hand; its line comes as a file.
	Build bool `json:"build,omitempty"`
	// Hand is the answer: its pid, or why there is none.
	Hand  int           `json:"hand,omitempty"`
	Errno syscall.Errno `json:"errno,omitempty"`
	// Signal that the user sent while no command ran.
	Signal syscall.Signal `json:"signal,omitempty"`
}

// What the front and the hand tell each other.
type handMessage struct {
	// Running: the command runs from now on, or no more.
	Running *bool `json:"running,omitempty"`
	// Stopped by this signal is the command, whose pid is said too.
	Stopped syscall.Signal `json:"stopped,omitempty"`
	Command int            `json:"command,omitempty"`
	// Signal for the command. Group says that it was sent to the front's whole
	// process group.
	Signal syscall.Signal `json:"signal,omitempty"`
	Group  bool           `json:"group,omitempty"`
}

// order is what the keeper asks of the hand. Each is answered by a report with
// the same ID.
type order struct {
	ID       uint64         `json:"id"`
	Plan     *plan          `json:"plan,omitempty"`
	Run      *exact         `json:"run,omitempty"`
	Kill     syscall.Signal `json:"kill,omitempty"`
	End      bool           `json:"end,omitempty"`
	Redirect *redirection   `json:"redirect,omitempty"`
	// Addresses, Hostname and Files of another incarnation of the pod.
	Addresses []netip.Addr  `json:"addresses,omitempty"`
	Files     []tunnel.File `json:"files,omitempty"`
	Hostname  string        `json:"hostname,omitempty"`
	Refresh   *root.Mount   `json:"refresh,omitempty"`
	Sockets   bool          `json:"sockets,omitempty"`
	Dial      *dial         `json:"dial,omitempty"`
	// View asks for the device that serves one of the plan's views, from 1 on.
	View int `json:"view,omitempty"`
}

// exact is a Command as bytes: what a user's variables, arguments and folders
// are called need not be UTF-8, and JSON's text has nothing else.
type exact struct {
	Args [][]byte `json:"args"`
	Env  [][]byte `json:"env"`
	Dir  []byte   `json:"dir"`
}

func exactly(c Command) *exact {
	return &exact{Args: convert[[]byte](c.Args), Env: convert[[]byte](c.Env), Dir: []byte(c.Dir)}
}

func (e *exact) command() Command {
	return Command{Args: convert[string](e.Args), Env: convert[string](e.Env), Dir: string(e.Dir)}
}

func convert[To, From string | []byte](list []From) []To {
	converted := make([]To, len(list))
	for i, entry := range list {
		converted[i] = To(entry)
	}
	return converted
}

type plan struct {
	Device    Device       `json:"device"`
	Hostname  string       `json:"hostname"`
	Addresses []netip.Addr `json:"addresses"`
	Root      root.Plan    `json:"root"`
	// Root.Dir and Root.Personal, exactly.
	Dir      []byte   `json:"dir"`
	Personal [][]byte `json:"personal"`

	// views are the keeper's own: those of Root, with what is there; viewed are
	// the mounts that they show.
	views  []ShownPath
	viewed map[string]bool
	// writable says that the Line lets some of the files be written.
	writable bool
}

type redirection struct {
	Aliases   []network.Alias    `json:"aliases"`
	Redirects []network.Redirect `json:"redirects"`
}

// dial over loopback inside the stage; From may be unspecified.
type dial struct {
	Network string         `json:"network"`
	From    netip.AddrPort `json:"from"`
	To      netip.AddrPort `json:"to"`
}

// report is what the hand tells the keeper: an answer, or news with ID 0.
type report struct {
	ID    uint64 `json:"id,omitempty"`
	Error string `json:"error,omitempty"`
	// Errno of the error, where it has one.
	Errno syscall.Errno `json:"errno,omitempty"`

	// Of a plan; the device comes as a file.
	Ready *ready `json:"ready,omitempty"`
	// Of an order for sockets, and as news when they have changed.
	Sockets    []network.Socket `json:"sockets,omitempty"`
	HasSockets bool             `json:"hasSockets,omitempty"`
	// News: the command has ended, and so have all its descendants.
	Exited *Status `json:"exited,omitempty"`
}

type ready struct {
	Kind     string   `json:"kind"`
	Ethernet bool     `json:"ethernet"`
	MAC      [6]byte  `json:"mac"`
	Made     []string `json:"made"`
	Notices  []string `json:"notices"`
}

func (r *report) fail(err error) {
	r.Error = err.Error()
	errors.As(err, &r.Errno)
	switch {
	case r.Errno != 0:
	case errors.Is(err, fs.ErrNotExist):
		r.Errno = syscall.ENOENT
	case errors.Is(err, fs.ErrPermission):
		r.Errno = syscall.EACCES
	}
}

// err is the error as it was, as far as callers ask.
func (r *report) err() error {
	switch {
	case r.Error == "":
		return nil
	case r.Errno != 0:
		return &farError{text: r.Error, errno: r.Errno}
	}
	return errors.New(r.Error)
}

// farError is an error of another process.
type farError struct {
	text  string
	errno syscall.Errno
}

func (e *farError) Error() string { return e.text }
func (e *farError) Unwrap() error { return e.errno }
