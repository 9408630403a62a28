package manager

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestParseOptions(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want func(Options) bool
		err  string
	}{
		"defaults": {args: []string{"--agent-image=a", "--namespace=n"}, want: func(o Options) bool {
			return o.LeaderElect && o.AgentDelivery == "auto" && o.PolicyPrefix == "understudy" && o.KeepEnded == 10*time.Minute
		}},
		"environment":            {env: map[string]string{"UNDERSTUDY_AGENT_IMAGE": "a", "UNDERSTUDY_NAMESPACE": "n"}, want: func(o Options) bool { return o.AgentImage == "a" && o.Namespace == "n" }},
		"flag over environment":  {args: []string{"--agent-image=b"}, env: map[string]string{"UNDERSTUDY_AGENT_IMAGE": "a", "UNDERSTUDY_NAMESPACE": "n"}, want: func(o Options) bool { return o.AgentImage == "b" }},
		"no election, no place":  {args: []string{"--agent-image=a", "--leader-elect=false"}, want: func(o Options) bool { return !o.LeaderElect }},
		"kept shorter":           {args: []string{"--agent-image=a", "--namespace=n"}, env: map[string]string{"UNDERSTUDY_KEEP_ENDED": "90s"}, want: func(o Options) bool { return o.KeepEnded == 90*time.Second }},
		"kept for ever":          {args: []string{"--agent-image=a", "--namespace=n", "--keep-ended=0"}, err: `--keep-ended is "0"`},
		"identity":               {args: []string{"--agent-image=a", "--namespace=n"}, env: map[string]string{"UNDERSTUDY_LEADER_IDENTITY": "pod-1"}, want: func(o Options) bool { return o.LeaderIdentity == "pod-1" }},
		"agents' priority":       {args: []string{"--agent-image=a", "--namespace=n", "--agents-priority-class=high"}, want: func(o Options) bool { return o.AgentsPriorityClass == "high" }},
		"no image":               {args: []string{"--namespace=n"}, err: "--agent-image is required"},
		"no namespace":           {args: []string{"--agent-image=a"}, err: "--namespace is required"},
		"agents beside us":       {args: []string{"--agent-image=a", "--namespace=n", "--agents-namespace=n"}, err: "a namespace of its own"},
		"unknown delivery":       {args: []string{"--agent-image=a", "--namespace=n", "--agent-delivery=mail"}, err: "one of auto, image, init"},
		"unknown pull policy":    {args: []string{"--agent-image=a", "--namespace=n", "--agent-image-pull-policy=Sometimes"}, err: "IfNotPresent"},
		"unknown log level":      {args: []string{"--agent-image=a", "--namespace=n", "--log-level=loud"}, err: "one of debug, info, warn, error"},
		"something without dash": {args: []string{"--agent-image=a", "--namespace=n", "more"}, err: `unexpected argument "more"`},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := ParseOptions(c.args, func(key string) string { return c.env[key] }, &bytes.Buffer{})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !c.want(o) {
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
}
