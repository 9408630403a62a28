package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Facts are what the cluster says of a target; the zero value is a cluster that
// was not asked.
type Facts struct {
	// Target as the cluster knows it: "deployment/worker".
	Target string
	// Namespace and Container that are meant.
	Namespace, Container string
	// Replicas that it is asked to have; -1 where that is not known.
	Replicas int32
}

// Explain says in a paragraph what a Config means: what happens to the target,
// what the local process gets, and how it ends.
func (c *Config) Explain(facts Facts) string {
	if c.Targetless() {
		return c.explainTargetless(facts)
	}
	if facts.Target == "" {
		facts = Facts{Target: c.Target, Namespace: c.Namespace, Replicas: -1}
	}
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for _, part := range []func(*Config, Facts, func(string, ...any)){
		(*Config).explainTakeover, (*Config).explainEnv, (*Config).explainFiles, (*Config).explainOutgoing,
		(*Config).explainNames, (*Config).explainIncoming, (*Config).explainEnd,
	} {
		part(c, facts, say)
	}
	return strings.Join(said, " ")
}

// explainTargetless is the paragraph of a session that stands in for nothing.
func (c *Config) explainTargetless(facts Facts) string {
	where := "in the kubeconfig's namespace"
	if namespace := cmp.Or(facts.Namespace, c.Namespace); namespace != "" {
		where = "in namespace " + namespace
	}
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	say("No workload is touched: an empty pod is made %s, of understudy's own image, with nobody's account and no volumes.", where)
	say("Your process gets your own environment, and of the pod's what Kubernetes gives to every one; all its files are this machine's.")
	c.explainOutgoing(facts, say)
	c.explainNames(facts, say)
	switch {
	case c.Incoming.Mode == IncomingOff, !c.Listen.All && len(c.Listen.Ports) == 0:
		say("No connection of the cluster comes to it.")
	default:
		ports := "any port"
		if !c.Listen.All {
			ports = list(numbers(c.Listen.Ports))
		}
		say("Connections to %s of the pod's own address come to it where it listens; no Service leads there.", ports)
	}
	say("When your process ends, or this machine is not heard of for %s, the pod goes.", c.Lease)
	return strings.Join(said, " ")
}

func (c *Config) explainTakeover(facts Facts, say func(string, ...any)) {
	where := "in the kubeconfig's namespace"
	if facts.Namespace != "" {
		where = "in namespace " + facts.Namespace
	}
	container := "its container"
	if facts.Container != "" {
		container = "its container " + facts.Container
	}
	pods := "all pods"
	if facts.Replicas >= 0 {
		pods = count(int(facts.Replicas), "pod", "pods")
	}
	without := ""
	if excluded := slices.Concat(c.ExcludeContainers, c.ExcludeInitContainers); len(excluded) > 0 {
		without = " (without " + list(excluded) + ")"
	}
	if c.Wait {
		say("Whoever holds %s is waited for, and so is who waits already.", facts.Target)
	}
	switch c.Takeover {
	case TakeoverCopy, TakeoverScaleDown:
		say("A stand-in is made %s, a copy of the pod of %s%s, in which understudy takes the place of %s.", where, facts.Target, without, container)
	case TakeoverFreeze:
		if c.Paused { // of how many pods, nobody has said
			say("If %s has one pod %s, its container is frozen where it stands, and goes on when your process ends; if it has several, all of them are held at zero and a copy stands in.", facts.Target, where)
		} else {
			say("The container of %s %s is frozen where it stands, and goes on when your process ends.", facts.Target, where)
		}
		if c.ReleaseConnections {
			say("Its connections are cut, so that a broker gives to others what it had delivered there.")
		} else {
			say("Its connections stay open, and a broker keeps what it had delivered there.")
		}
		if c.Alone() {
			say("That is done by an agent on its node which is made with your own rights, by no operator.")
		}
	default:
		pod := facts.Target
		if !strings.HasPrefix(pod, "pod/") {
			pod = "one pod of " + pod
		}
		say("An agent on its node attaches to %s %s, which goes on running, and goes on taking messages from its queue.", pod, where)
	}
	switch c.Takeover {
	case TakeoverScaleDown:
		say("Then %s of %s will be scaled to zero, and when none runs any more your process starts: every message of its queue comes to you.", pods, facts.Target)
	case TakeoverCopy:
		goOn, they := "go on", "they"
		if facts.Replicas == 1 {
			goOn, they = "goes on", "it"
		}
		say("%s of %s %s running: %s and your process share the messages of its queue.", upper(pods), facts.Target, goOn, they)
	}
}

func (c *Config) explainEnv(_ Facts, say func(string, ...any)) {
	e := c.Env
	text := "Your process gets the environment of the container over your own, but for what makes no sense here (PATH, HOME and the like)"
	switch {
	case slices.Equal(e.Exclude, []string{"*"}):
		text = "Your process gets your own environment and nothing of the container's"
	case len(e.Exclude) > 0:
		text += " and for " + list(e.Exclude)
	case len(e.Include) > 0:
		text = "Your process gets, over your own environment, of the container's only " + list(e.Include)
	}
	var more []string
	if len(e.Mapping) > 0 {
		more = append(more, "with other values for names like "+list(sorted(e.Mapping)))
	}
	if e.File != "" {
		more = append(more, "with the variables of the file "+e.File)
	}
	if len(e.Override) > 0 {
		more = append(more, "with "+list(sorted(e.Override))+" as the configuration says")
	}
	if len(e.Unset) > 0 {
		more = append(more, "without "+list(e.Unset))
	}
	if len(more) > 0 {
		text += ", " + strings.Join(more, ", ")
	}
	say("%s.", text)
}

func (c *Config) explainFiles(_ Facts, say func(string, ...any)) {
	files := c.Files
	switch {
	case files.Mode == FilesLocal:
		say("All its files are this machine's.")
		return
	case files.Mode == FilesLocalWithOverrides && len(files.ReadOnly)+len(files.ReadWrite) == 0:
		say("All its files are this machine's, as no path is named that would not be.")
	case files.Mode == FilesLocalWithOverrides:
		say("Its files are this machine's, but paths like %s are the container's.", list(slices.Concat(files.ReadOnly, files.ReadWrite)))
	default:
		named := ""
		if theirs := slices.Concat(files.ReadOnly, files.ReadWrite); len(theirs) > 0 {
			named = ", and paths like " + list(theirs) + " are the container's all the same"
		}
		say("It reads the container's files; this machine's are its system, your home, working directory and programs%s.", named)
	}
	if len(files.Local) > 0 {
		say("Paths like %s are this machine's.", list(files.Local))
	}
	if len(files.Mapping) > 0 {
		say("Paths like %s lead to others.", list(sorted(files.Mapping)))
	}
	if len(files.NotFound) > 0 {
		say("Paths like %s are not found.", list(files.NotFound))
	}
	c.explainWriting(say)
}

func (c *Config) explainWriting(say func(string, ...any)) {
	files := c.Files
	except := ""
	if len(files.ReadOnly) > 0 {
		except = ", but not those like " + list(files.ReadOnly)
		if len(files.ReadWrite) > 0 {
			except += " that are not like " + list(files.ReadWrite)
		}
	}
	switch {
	case files.Mode == FilesWrite:
		say("It writes the container's files too, as the container could%s.", except)
	case len(files.ReadWrite) > 0:
		say("Of the container's files it may write those like %s, as the container could.", list(files.ReadWrite))
	default:
		say("The container's files cannot be written.")
		return
	}
	if c.Takeover == TakeoverCopy || c.Takeover == TakeoverScaleDown {
		say("What is on no volume is gone with the stand-in.")
	}
}

func (c *Config) explainOutgoing(_ Facts, say func(string, ...any)) {
	out := c.Outgoing
	switch {
	case !out.TCP && !out.UDP:
		say("Its connections go out from this machine.")
	case len(out.Filter.Remote) > 0:
		say("Its connections to %s go out from the pod's network, all others from this machine.", list(out.Filter.Remote))
	case len(out.Filter.Local) > 0:
		say("Its connections go out from the pod's network, but those to %s from this machine.", list(out.Filter.Local))
	default:
		say("Its connections go out from the pod's network.")
	}
	if out.TCP != out.UDP {
		say("%s goes out from this machine.", map[bool]string{true: "UDP", false: "TCP"}[out.TCP])
	}
	if out.IgnoreLocalhost {
		say("127.0.0.1 is this machine's.")
	}
}

func (c *Config) explainNames(_ Facts, say func(string, ...any)) {
	hostname := ""
	if !c.Hostname {
		hostname = " Its hostname is this machine's."
	}
	switch {
	case !c.Names.Enabled:
		say("Names are looked up as on this machine.%s", hostname)
	case len(c.Names.Filter.Local) > 0:
		say("Names are looked up as in the pod, but %s on this machine.%s", list(namesOf(c.Names.Filter.Local)), hostname)
	case len(c.Names.Filter.Remote) > 0:
		say("Of names %s are looked up as in the pod, all others on this machine.%s", list(namesOf(c.Names.Filter.Remote)), hostname)
	default:
		say("Names are looked up as in the pod.%s", hostname)
	}
}

// namesOf are the entries of a filter of names as they are heeded.
func namesOf(entries []string) (names []string) {
	for _, entry := range entries {
		if name, ok := ParseName(entry); ok {
			entry = name
		}
		names = append(names, entry)
	}
	return names
}

func (c *Config) explainIncoming(facts Facts, say func(string, ...any)) {
	in := c.Incoming
	if in.Mode == IncomingOff {
		say("No connection of the cluster comes to it.")
		return
	}
	what := "to " + list(append(numbers(c.Listen.Ports), "ports that the container declares, its probes use or a Service targets"))
	if c.Listen.All {
		what = "to any port"
	}
	switch {
	case len(in.Ports) > 0:
		what = "to " + list(numbers(in.Ports)) + ", where they are such ports,"
	case len(in.IgnorePorts) > 0:
		what += ", except " + list(numbers(in.IgnorePorts)) + ","
	}
	switch {
	case c.Takeover == TakeoverCopy && !c.ShareTraffic:
		say("Connections that come to the stand-in itself %s reach it where it listens; no Service leads there.", what)
	case c.Takeover == TakeoverCopy:
		say("Of the connections that come in %s the stand-in gets a share, and they reach it where it listens; the others go to %s.", what, facts.Target)
	case c.Takeover == TakeoverNone:
		say("New connections to that pod %s reach it where it listens, and not the pod's own process.", what)
	default:
		say("Connections that come in %s reach it where it listens.", what)
	}
	for _, pair := range in.PortMapping {
		say("It listens on %d for those to %d.", pair[0], pair[1])
	}
	for _, pair := range in.ListenPorts {
		say("Its port %d is at 127.0.0.1:%d of this machine.", pair[0], pair[1])
	}
}

func (c *Config) explainEnd(facts Facts, say func(string, ...any)) {
	switch {
	case c.Takeover == TakeoverScaleDown && facts.Replicas >= 0:
		say("When your process ends, however it ends, %s has %s again.", facts.Target, count(int(facts.Replicas), "replica", "replicas"))
	case c.Takeover == TakeoverScaleDown:
		say("When your process ends, however it ends, %s has as many replicas as before.", facts.Target)
	case c.Takeover == TakeoverCopy:
		say("When your process ends, the stand-in goes.")
	case c.Takeover == TakeoverNone:
		say("When your process ends, the agent goes, and the pod has all of its ports again.")
	}
	say("When this machine is not heard of for %s, the cluster undoes everything by itself.", c.Lease)
}

var small = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

func count(n int, one, many string) string {
	number := fmt.Sprint(n)
	if n < len(small) {
		number = small[n]
	}
	if n == 1 {
		return number + " " + one
	}
	return number + " " + many
}

func numbers[P uint16 | int32](ports []P) []string {
	var texts []string
	for _, port := range ports {
		texts = append(texts, fmt.Sprint(port))
	}
	return texts
}

// list is a readable enumeration.
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
