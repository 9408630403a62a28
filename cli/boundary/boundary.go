// Package boundary draws the line between the pod's world and this machine's,
// as the configuration has it: which connections go out from where, where a
// name is looked up, which ports are opened in the cluster, whose hostname and
// which mounted files the local process sees.
//
// It stands between the stage and the tunnel and speaks the language of both:
// what the pod says of itself passes through Welcome, connections through
// Remote. It opens no connection of the stage's own accord.
package boundary

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// Boundary is one session's line. All methods may be used at the same time.
type Boundary struct {
	incoming config.Incoming
	outgoing config.Outgoing
	names    config.Names
	files    config.Files
	// hostname of this machine, where the process is to see it; else empty.
	hostname string

	local, remote         []config.Destination // where outgoing connections go
	localName, remoteName []string             // where names are looked up
	// Whose a path is; own are the user's.
	readOnly, readWrite, localFiles, notFound []*regexp.Regexp
	mappings                                  []mapping
	own                                       []string

	here here

	mu sync.Mutex
	// known are the names that an address was looked up by.
	known map[netip.Addr][]string
	// servers are the pod's name servers, search its search domains.
	servers []netip.Addr
	search  []string
}

// New draws the line of a Config that has been checked.
func New(c *config.Config) (*Boundary, error) {
	b := &Boundary{
		incoming: c.Incoming, outgoing: c.Outgoing, names: c.Names, files: c.Files,
		own: ownPaths(), here: thisMachine(), known: map[netip.Addr][]string{},
	}
	if c.Targetless() && b.files.Mode != config.FilesLocal {
		// The pod is empty: there is nothing of anybody's to read.
		b.files.Mode = config.FilesLocalWithOverrides
	}
	if !c.Hostname {
		b.hostname, _ = os.Hostname()
	}
	var err error
	if b.local, err = destinations(c.Outgoing.Filter.Local); err != nil {
		return nil, err
	}
	if b.remote, err = destinations(c.Outgoing.Filter.Remote); err != nil {
		return nil, err
	}
	if b.localName, err = nameList(c.Names.Filter.Local); err != nil {
		return nil, err
	}
	if b.remoteName, err = nameList(c.Names.Filter.Remote); err != nil {
		return nil, err
	}
	if b.readOnly, err = folded(c.Files.ReadOnly); err != nil {
		return nil, err
	}
	if b.readWrite, err = folded(c.Files.ReadWrite); err != nil {
		return nil, err
	}
	if b.localFiles, err = folded(c.Files.Local); err != nil {
		return nil, err
	}
	if b.notFound, err = folded(c.Files.NotFound); err != nil {
		return nil, err
	}
	b.mappings, err = mappings(c.Files.Mapping)
	return b, err
}

func destinations(texts []string) ([]config.Destination, error) {
	var list []config.Destination
	for _, text := range texts {
		d, ok := config.ParseDestination(text)
		if !ok {
			return nil, fmt.Errorf("%q is no destination", text)
		}
		list = append(list, d)
	}
	return list, nil
}

func nameList(texts []string) ([]string, error) {
	var list []string
	for _, text := range texts {
		name, ok := config.ParseName(text)
		if !ok {
			return nil, fmt.Errorf("%q is no name", text)
		}
		list = append(list, name)
	}
	return list, nil
}

func expressions(patterns []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	for _, pattern := range patterns {
		expression, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression: %w", pattern, err)
		}
		list = append(list, expression)
	}
	return list, nil
}

// folded are expressions to which upper and lower case are the same, as they are to
// the other tool.
func folded(patterns []string) ([]*regexp.Regexp, error) {
	list, err := expressions(patterns) // an error names the pattern as it was written
	for i, pattern := range patterns {
		if err == nil {
			list[i], err = regexp.Compile("(?i)" + pattern)
		}
	}
	return list, err
}

// Welcome is what the stage is told of the pod.
func (b *Boundary) Welcome(welcome tunnel.Welcome) tunnel.Welcome {
	b.learn(welcome.Files)
	if b.hostname != "" {
		welcome.Hostname = b.hostname
		welcome.Files = without(welcome.Files, "/etc/hostname")
	}
	if !b.names.Enabled {
		welcome.Files = b.withNamesOfHere(welcome.Files)
	}
	welcome.Mounts = slices.DeleteFunc(slices.Clone(welcome.Mounts), func(m tunnel.Mount) bool { return !b.Mounted(m) })
	welcome.Ports, welcome.ListenAll = b.ports(welcome.Ports, welcome.ListenAll)
	welcome.LoopbackPorts = b.Loopback(welcome.LoopbackPorts)
	return welcome
}

func without(files []tunnel.File, path string) []tunnel.File {
	return slices.DeleteFunc(slices.Clone(files), func(file tunnel.File) bool { return file.Path == path })
}

// Mounted says whether a mounted volume of the container is brought here.
func (b *Boundary) Mounted(mount tunnel.Mount) bool {
	matches := func(list []*regexp.Regexp) bool {
		return slices.ContainsFunc(list, func(e *regexp.Regexp) bool {
			return e.MatchString(mount.Path) || !mount.File && e.MatchString(mount.Path+"/")
		})
	}
	switch {
	case b.files.Mode == config.FilesLocal:
		return false
	case matches(b.readWrite), matches(b.readOnly):
		return true
	}
	return b.files.Mode != config.FilesLocalWithOverrides && !matches(b.localFiles)
}

// learn takes the pod's name servers, search domains and hosts.
func (b *Boundary) learn(files []tunnel.File) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, file := range files {
		switch file.Path {
		case "/etc/resolv.conf":
			b.servers, b.search = parseResolver(file.Data)
		case "/etc/hosts":
			for address, names := range parseHosts(file.Data) {
				b.remember(address, names...)
			}
		}
	}
}

// maxKnown addresses are remembered with the names that led to them.
const maxKnown = 8192

// remember notes by which names an address is known; mu is held.
func (b *Boundary) remember(address netip.Addr, names ...string) {
	if len(b.known) >= maxKnown {
		for any := range b.known { // whichever comes first
			delete(b.known, any)
			break
		}
	}
	address = address.Unmap()
	for _, name := range names {
		if name = strings.ToLower(strings.TrimSuffix(name, ".")); !slices.Contains(b.known[address], name) {
			b.known[address] = append(b.known[address], name)
		}
	}
}

func parseResolver(text []byte) (servers []netip.Addr, search []string) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 1 && fields[0] == "nameserver":
			if address, err := netip.ParseAddr(fields[1]); err == nil {
				servers = append(servers, address.Unmap().WithZone(""))
			}
		case len(fields) > 0 && (fields[0] == "search" || fields[0] == "domain"):
			search = nil
			for _, domain := range fields[1:] {
				search = append(search, strings.ToLower(strings.Trim(domain, ".")))
			}
		}
	}
	return servers, search
}

func parseHosts(text []byte) map[netip.Addr][]string {
	hosts := map[netip.Addr][]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if address, err := netip.ParseAddr(fields[0]); err == nil {
			hosts[address.Unmap()] = append(hosts[address.Unmap()], fields[1:]...)
		}
	}
	return hosts
}

// withNamesOfHere has names looked up as on this machine: its own hosts and
// search domains, and the pod's name servers only as the address to which
// questions are sent, which are then answered here.
func (b *Boundary) withNamesOfHere(files []tunnel.File) []tunnel.File {
	files = without(files, "/etc/hosts")
	own, _ := os.ReadFile(b.here.resolver)
	_, search := parseResolver(own)
	for i, file := range files {
		if file.Path != "/etc/resolv.conf" {
			continue
		}
		var text strings.Builder
		for _, server := range b.servers {
			fmt.Fprintf(&text, "nameserver %s\n", server)
		}
		if len(search) > 0 {
			fmt.Fprintf(&text, "search %s\n", strings.Join(search, " "))
		}
		files[i].Data = []byte(text.String())
	}
	return files
}

// here is this machine, as far as it is asked.
type here struct {
	// resolver is the path of resolv.conf.
	resolver string
	// sockets are the paths of the kernel's lists of TCP sockets.
	sockets []string
	dialer  net.Dialer
	names   *net.Resolver
	// viewable says why the pod's files cannot be shown, if so.
	viewable func() error
}

func thisMachine() here {
	return here{
		resolver: "/etc/resolv.conf", sockets: []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"},
		names: net.DefaultResolver, viewable: stage.Viewable,
	}
}

// sortedPorts for comparing.
func sortedPorts(m map[tunnel.Endpoint]bool) []tunnel.Endpoint {
	return slices.SortedFunc(maps.Keys(m), func(a, b tunnel.Endpoint) int {
		if c := a.Addr.Compare(b.Addr); c != 0 {
			return c
		}
		return int(a.Port) - int(b.Port)
	})
}
