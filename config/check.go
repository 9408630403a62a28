package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// goesOn is what somebody should know who leaves the target as it is.
const goesOn = "the target goes on running beside the local process, and goes on taking messages: --copy-target --scale-down holds it meanwhile, --pause freezes its one pod"

// steals is what somebody should know who did not say what becomes of the
// connections to a target that goes on running: the other tool mirrored them.
const steals = "new connections to the ports that the local process listens on come to it, and not to the running target: feature.network.incoming: off leaves them to the target"

// inNoPlace is what somebody should know who has named no target.
const inNoPlace = "no target is named: the process is in the network of the namespace, and in the place of nothing (-t names a workload; -t targetless says that this is meant)"

// Check says what does not go together in a Config, or cannot be served yet,
// all at once, and of which keys. Remarks on what goes together and may surprise are added to
// Notices. The error is Problems.
func (c *Config) Check() error {
	var problems Problems
	for _, rule := range []func(*Config) []*Problem{
		(*Config).checkTakeover, (*Config).checkAgent, (*Config).checkTarget, (*Config).checkTimes, (*Config).checkEnv,
		(*Config).checkFiles, (*Config).checkIncoming, (*Config).checkOutgoing, (*Config).checkNames,
	} {
		problems = append(problems, rule(c)...)
	}
	return problems.orNil()
}

func (c *Config) notice(text string) {
	if !slices.Contains(c.Notices, text) {
		c.Notices = append(c.Notices, text)
	}
}

func (c *Config) checkTakeover() (found []*Problem) {
	add := func(p *Problem) { found = append(found, p) }
	copies := c.Takeover == TakeoverCopy || c.Takeover == TakeoverScaleDown
	switch c.Takeover {
	case TakeoverCopy, TakeoverScaleDown:
	case TakeoverFreeze:
		if c.Target == "" || c.Target == NoTarget {
			add(problem("name the workload, as in --target deployment/NAME", "there is nothing to pause without a target").about("takeover", "target.path"))
		}
		if c.Incoming.Mode != IncomingSteal {
			c.notice("the target is frozen and its traffic is not taken: requests to it go unanswered, but for the kubelet's network probes, which its agent answers; take the traffic with --steal")
		}
	case TakeoverNone:
		if !c.Targetless() {
			c.notice(goesOn)
		}
		if c.Alone() {
			c.notice("operator: false has no effect: only a pod can be frozen without understudy's own operator, and every other session is made by it")
		}
	default:
		add(problem("choose one of "+list(Takeover("").Values()), "there is no takeover %q", c.Takeover).about("takeover"))
	}
	if copies && c.Alone() {
		add(problem("leave operator out, or say true", "a stand-in is made by the operator, and operator: false forbids it").about("operator", "takeover"))
	}
	if c.ShareTraffic && c.Takeover == TakeoverScaleDown {
		add(problem("leave share_traffic out: with scale-down the stand-in takes all of the traffic", "share_traffic is for a copy beside the target").about("share_traffic", "takeover"))
	}
	switch freezes := c.Takeover == TakeoverFreeze; {
	case !c.ReleaseConnections && !freezes:
		add(problem("freeze the target (--pause, or takeover: freeze), or leave release_connections out", "connections are kept open only where something is frozen").about("release_connections", "takeover"))
	case !c.ReleaseConnections:
		c.notice("the frozen container's connections stay open: a broker keeps what it had delivered there, and may go on delivering to it, until it misses its heartbeats")
	}
	if c.Wait && (c.Takeover == TakeoverCopy || c.Takeover == TakeoverNone) {
		add(problem("leave wait out, or hold the target with --scale-down", "what leaves the target as it is waits for nobody").about("wait", "takeover"))
	}
	if !copies && len(c.ExcludeContainers)+len(c.ExcludeInitContainers) > 0 {
		c.notice("containers are excluded from a stand-in, and none is asked for: that has no effect")
	}
	if !copies && c.ShareTraffic {
		c.notice("--share-traffic is for a stand-in, and none is asked for: that has no effect")
	}
	return found
}

func (c *Config) checkTarget() (found []*Problem) {
	copies := c.Takeover == TakeoverCopy || c.Takeover == TakeoverScaleDown
	switch kind, name := c.SplitTarget(); {
	case c.Targetless() && c.Target == "":
		c.notice(inNoPlace)
	case c.Target == "" && copies:
		found = append(found, problem("say which workload is meant: --target (-t) deployment/NAME, or target in the file", "no target is named, and a stand-in is a copy of one").about("takeover", "target.path"))
	case name == NoTarget && copies:
		found = append(found, problem("name a workload, as in --target deployment/NAME", "a stand-in is a copy of a target, and targetless has none").about("target.path", "takeover"))
	case kind == "service" || kind == "services" || kind == "svc":
		found = append(found, problem("name the workload behind it, as in deployment/"+name, "a Service runs no pods that could be copied, held or attached to").about("target.path"))
	case kind == "label" || kind == "labels" || kind == "selector":
		found = append(found, problem("name the workload: deployment/NAME", "a target is one object, not whatever bears a label: %s", c.Target).about("target.path"))
	case name != "" && name != NoTarget:
		if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
			found = append(found, problem("take the name as kubectl get has it", "nothing in a cluster can be called %q", name).about("target.path"))
		}
	}
	if wrong := validation.IsDNS1123Label(c.Namespace); c.Namespace != "" && len(wrong) > 0 {
		found = append(found, problem("take the name as kubectl get namespaces has it", "no namespace can be called %q", c.Namespace).about("target.namespace"))
	}
	return found
}

func (c *Config) checkTimes() []*Problem {
	return append(within("lease", "lease", c.Lease, MinLease, MaxLease), within("setup_timeout", "setup timeout", c.SetupTimeout, MinSetupTimeout, MaxSetupTimeout)...)
}

// within checks a duration that the cluster counts in whole seconds.
func within(key, what string, d, least, most time.Duration) []*Problem {
	switch {
	case d < least || d > most:
		return []*Problem{problem(fmt.Sprintf("choose between %s and %s", least, most), "a %s of %s is not possible", what, d).about(key)}
	case d%time.Second != 0:
		return []*Problem{problem("choose whole seconds", "a %s of %s is not possible", what, d).about(key)}
	}
	return nil
}

func (c *Config) checkEnv() (found []*Problem) {
	e := c.Env
	if len(e.Include) > 0 && len(e.Exclude) > 0 {
		found = append(found, problem("name what is taken, or what is left out", "feature.env.include and feature.env.exclude exclude each other").about("feature.env.include", "feature.env.exclude"))
	}
	for _, pattern := range sorted(e.Mapping) {
		if _, err := regexp.Compile(pattern); err != nil {
			found = append(found, notRegular("feature.env.mapping", pattern, err))
		}
	}
	for _, name := range sorted(e.Override) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			found = append(found, problem("", "feature.env.override: %q is no name of a variable", name).entryOf("feature.env.override", name))
		}
	}
	return found
}

func notRegular(key, pattern string, err error) *Problem {
	said := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	advice := ""
	if strings.Contains(said, "(?") {
		advice = "looking ahead and behind is not possible in these expressions"
	}
	return problem(advice, "%s: %q is no regular expression: %s", key, pattern, said).entryOf(key, pattern)
}

func (c *Config) checkFiles() (found []*Problem) {
	for key, patterns := range map[string][]string{
		"feature.fs.read_only": c.Files.ReadOnly, "feature.fs.read_write": c.Files.ReadWrite, "feature.fs.local": c.Files.Local,
		"feature.fs.not_found": c.Files.NotFound, "feature.fs.mapping": sorted(c.Files.Mapping),
	} {
		for _, pattern := range patterns {
			if _, err := regexp.Compile(pattern); err != nil {
				found = append(found, notRegular(key, pattern, err))
			}
		}
	}
	if c.Files.Mode == FilesLocal && len(c.Files.ReadOnly)+len(c.Files.ReadWrite)+len(c.Files.NotFound)+len(c.Files.Mapping) > 0 {
		c.notice("feature.fs.mode is local, and paths are named for other modes: that has no effect")
	}
	for _, from := range sorted(c.Files.Mapping) {
		if !strings.HasPrefix(c.Files.Mapping[from], "/") {
			found = append(found, problem("write an absolute path", "feature.fs.mapping leads %q to %q, which is no path", from, c.Files.Mapping[from]).entryOf("feature.fs.mapping", from))
		}
	}
	slices.SortFunc(found, func(a, b *Problem) int { return strings.Compare(a.What, b.What) })
	return found
}

func (c *Config) checkIncoming() (found []*Problem) {
	add := func(p *Problem) { found = append(found, p) }
	in := c.Incoming
	if in.Mode == IncomingMirror {
		add(problem("say steal, so that the connections come to the local process, or off", "feature.network.incoming.mode mirror does not work yet").about("feature.network.incoming.mode"))
	}
	if len(in.Ports) > 0 && len(in.IgnorePorts) > 0 {
		add(problem("name the ports that are opened, or those that are not", "feature.network.incoming.ports and ignore_ports exclude each other").about("feature.network.incoming.ports", "feature.network.incoming.ignore_ports"))
	}
	for key, pairs := range map[string][]PortPair{"port_mapping": in.PortMapping, "listen_ports": in.ListenPorts} {
		for i, pair := range pairs {
			for side, name := range []string{"first", "second"} {
				if slices.ContainsFunc(pairs[:i], func(p PortPair) bool { return p[side] == pair[side] }) {
					add(problem("each port is in one pair only", "feature.network.incoming.%s has %d twice in the %s place", key, pair[side], name).about("feature.network.incoming." + key))
				}
			}
		}
	}
	for _, pair := range in.PortMapping {
		switch {
		case slices.Contains(in.IgnorePorts, pair[1]):
			add(problem("take it out of one of both", "feature.network.incoming: port %d is in port_mapping and in ignore_ports", pair[1]).about("feature.network.incoming.port_mapping", "feature.network.incoming.ignore_ports"))
		case len(in.Ports) > 0 && !slices.Contains(in.Ports, pair[1]):
			add(problem("add it to ports", "feature.network.incoming: port %d is in port_mapping and not in ports", pair[1]).about("feature.network.incoming.port_mapping", "feature.network.incoming.ports"))
		}
	}
	if in.Mode == IncomingOff && len(in.Ports)+len(in.PortMapping) > 0 {
		c.notice("feature.network.incoming is off, and ports are named: they are not opened")
	}
	slices.SortFunc(found, func(a, b *Problem) int { return strings.Compare(a.What, b.What) })
	return found
}

func (c *Config) checkOutgoing() (found []*Problem) {
	filter := c.Outgoing.Filter
	const key = "feature.network.outgoing.filter"
	if len(filter.Local) > 0 && len(filter.Remote) > 0 {
		found = append(found, problem("name what is reached from this machine, or what from the pod", "%s.local and remote exclude each other", key).about(key+".local", key+".remote"))
	}
	for i, entry := range slices.Concat(filter.Local, filter.Remote) {
		d, ok := ParseDestination(entry)
		if !ok {
			found = append(found, problem("write [tcp://|udp://]host, address or CIDR[:port], or :port", "%s: %q is no destination", key, entry).entryOf(filter.of(key, i), entry))
			continue
		}
		if d.Name != "" && !c.Names.Enabled && len(filter.Remote) > 0 {
			c.notice(key + ".remote names hosts, and names are looked up on this machine: they must be known here")
		}
	}
	return found
}

// of is the key below a filter's own that an entry is of, local ones counted
// before remote ones.
func (f *Filter) of(key string, entry int) string {
	if entry < len(f.Local) {
		return key + ".local"
	}
	return key + ".remote"
}

func (c *Config) checkNames() (found []*Problem) {
	filter := c.Names.Filter
	const key = "feature.network.dns.filter"
	const outgoing = "take it out; where connections to it go is said in feature.network.outgoing.filter"
	if len(filter.Local) > 0 && len(filter.Remote) > 0 {
		found = append(found, problem("name what is looked up on this machine, or what in the pod", "%s.local and remote exclude each other", key).about(key+".local", key+".remote"))
	}
	for i, entry := range slices.Concat(filter.Local, filter.Remote) {
		d, ok := ParseDestination(entry)
		wrong := func(advice, what string) {
			found = append(found, problem(advice, "%s: %q is %s", key, entry, what).entryOf(filter.of(key, i), entry))
		}
		switch {
		case !ok || d.Network != "":
			wrong("write a name, or *.name", "no name")
		case d.Prefix.IsValid():
			wrong(outgoing, "an address, and names are looked up, not addresses")
		case d.Name == "":
			wrong(outgoing, "a port alone, and who looks a name up names none")
		case d.Port > 0:
			c.notice(fmt.Sprintf("%s: of %q the port is dropped: who looks a name up names none", key, entry))
		}
	}
	if !c.Names.Enabled && len(filter.Local)+len(filter.Remote) > 0 {
		c.notice(key + " has no effect: all names are looked up on this machine")
	}
	return found
}
