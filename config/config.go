// Package config says what a session should do, and reads it from wherever a
// person said it: flags, the environment (UNDERSTUDY_*) and a file, in this
// order of precedence.
//
// There is one vocabulary: a flag --copy-target is the variable
// UNDERSTUDY_COPY_TARGET and the key copy-target of the file. Files of other
// tools are not read here but translated into a Config, each by a package
// below this one.
//
// It decides nothing about the cluster and does not know it.
package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Takeover says how the target is kept from consuming.
type Takeover string

// The takeovers. TakeoverFreeze and TakeoverNone are known and not served yet.
const (
	// TakeoverNone attaches to the target and leaves it running.
	TakeoverNone Takeover = "none"
	// TakeoverCopy makes a stand-in and leaves the target as it is.
	TakeoverCopy Takeover = "copy"
	// TakeoverScaleDown makes a stand-in and holds the target at zero.
	TakeoverScaleDown Takeover = "scale-down"
	// TakeoverFreeze freezes the target's container.
	TakeoverFreeze Takeover = "freeze"
)

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

// Config is what one session should do.
type Config struct {
	// Target as a person names it: deployment/NAME[/container/NAME].
	Target string
	// Namespace of the target; empty for the kubeconfig's own.
	Namespace string
	// Context of the kubeconfig; empty for the current one.
	Context string
	// Kubeconfig is the file; empty for kubectl's own choice.
	Kubeconfig string

	// Takeover is how the target is kept from consuming.
	Takeover Takeover
	// ShareTraffic lets the stand-in of a copy take its share of the Services'
	// traffic.
	ShareTraffic bool
	// Listen are the ports that may be opened in the cluster beside those that
	// the container declares, its probes use or a Service targets.
	Listen Listen
	// Lease is how long the session lives on without this machine.
	Lease time.Duration
	// SetupTimeout is how long the session may take to become ready before it
	// is rolled back; the old pods' grace period is added.
	SetupTimeout time.Duration

	// Verbose shows details.
	Verbose bool
}

// Listen is a set of ports, or all of them.
type Listen struct {
	All   bool
	Ports []int32
}

// Problem is something wrong with what was asked for, and what to do instead.
type Problem struct{ What, Advice string }

func (p *Problem) Error() string { return p.What }

// Hint is the advice.
func (p *Problem) Hint() string { return p.Advice }

func problem(advice, what string, args ...any) error {
	return &Problem{What: fmt.Sprintf(what, args...), Advice: advice}
}

// worksNow is the advice where something does not work yet.
const worksNow = "what works now is a stand-in beside the target (--copy-target), or in its place (--copy-target --scale-down)"

// Check says what is wrong with a Config, or cannot be served yet.
func (c *Config) Check() error {
	switch c.Takeover {
	case TakeoverCopy, TakeoverScaleDown:
	case TakeoverFreeze:
		return problem(worksNow, "freezing the target (--pause) does not work yet")
	case TakeoverNone:
		return problem(worksNow, "attaching to the running target does not work yet")
	default:
		return problem(worksNow, "there is no takeover %q", c.Takeover)
	}
	if c.ShareTraffic && c.Takeover == TakeoverScaleDown {
		return problem("leave --share-traffic out: with --scale-down the stand-in takes all of the traffic", "--share-traffic is for a copy beside the target")
	}
	if err := within("lease", c.Lease, MinLease, MaxLease); err != nil {
		return err
	}
	return within("setup timeout", c.SetupTimeout, MinSetupTimeout, MaxSetupTimeout)
}

// within checks a duration that the cluster counts in whole seconds.
func within(what string, d, least, most time.Duration) error {
	if d < least || d > most {
		return problem(fmt.Sprintf("choose between %s and %s", least, most), "a %s of %s is not possible", what, d)
	}
	if d%time.Second != 0 {
		return problem("choose whole seconds", "a %s of %s is not possible", what, d)
	}
	return nil
}

// parseListen reads ports and the word all.
func parseListen(words []string) (Listen, error) {
	var l Listen
	seen := map[int32]bool{}
	for _, word := range words {
		for part := range strings.SplitSeq(word, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			if part == "all" {
				l.All = true
				continue
			}
			port, err := strconv.ParseUint(part, 10, 16)
			if err != nil || port == 0 {
				return Listen{}, problem("name a port from 1 to 65535, or all", "--listen %q is no port", part)
			}
			if p := int32(port); !seen[p] {
				seen[p] = true
				l.Ports = append(l.Ports, p)
			}
		}
	}
	return l, nil
}
