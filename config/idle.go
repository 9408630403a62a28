package config

import (
	"reflect"
	"slices"
	"strings"
)

// AgentNotices are what has no effect of what was said about the agent's pod, and
// why: with a takeover, and an operator that makes the pod or none.
func (c *Config) AgentNotices(takeover Takeover, operator bool) (notices []string) {
	for _, key := range c.agentKeys() {
		if why := c.idle(key, takeover, operator); why != "" {
			notices = append(notices, key+" has no effect: "+why)
		}
	}
	return notices
}

// agentKeys are the keys about the agent's pod that were said.
func (c *Config) agentKeys() (keys []string) {
	mine := reflect.ValueOf(form{Config: *c})
	for _, s := range settings {
		if key, ok := strings.CutPrefix(s.key, "agent."); (ok || s.key == "agent_image") && !mine.FieldByIndex(s.index).IsZero() {
			if key, _, _ = strings.Cut(key, "."); ok {
				key = "agent." + key
			}
			keys = append(keys, key)
		}
	}
	return slices.Compact(keys)
}

// idle is why a key about the agent's pod has no effect; empty where it has.
func (c *Config) idle(key string, takeover Takeover, operator bool) string {
	onNode := takeover == TakeoverFreeze || takeover == TakeoverNone && !c.Targetless()
	placed := key == "agent.node_selector" || key == "agent.tolerations"
	image := key == "agent.image_pull_policy" || key == "agent.image_pull_secrets"
	switch {
	case key == "agent.resources":
	case key == "agent.namespace" || key == "agent_image":
		if operator {
			return "it is for the agent of a freeze that no operator makes"
		}
	case onNode && key == "agent.node_selector":
		return "the agent is on the target's node"
	case onNode && key == "agent.tolerations":
		return "an agent on a node tolerates every taint"
	case !operator:
	case onNode:
		return "the agent on the node is made by the operator, as its chart says"
	case takeover == TakeoverNone:
		if image || key == "agent.service_account" || key == "agent.security_context" {
			return "the empty pod is made by the operator, as its chart says"
		}
	case placed:
		return "the stand-in is placed as the target's own pods are"
	case image:
		return "the stand-in gets its agent from the image that the operator's chart names"
	default:
		return "the stand-in has what the target's own pods have"
	}
	return ""
}
