package session

import "testing"

func TestSkew(t *testing.T) {
	for _, c := range []struct {
		operator Operator
		release  string
		want     string
	}{
		{Operator{Version: "1.2.3"}, "v1.2.9-4-gabcdef", ""},
		{Operator{Version: "1.3.0"}, "1.2.9", "the operator is of 1.3, and this understudy of 1.2"},
		{Operator{Version: "1.3.0", AgentImage: "r.example.com:5000/a/agent:v1.4.1"}, "1.2.9", "the operator is of 1.3, the agent is of 1.4, and this understudy of 1.2"},
		{Operator{Version: "1.2.0", AgentImage: "agent:1.1.0@sha256:00"}, "1.2.9", "the agent is of 1.1, and this understudy of 1.2"},
		{Operator{Version: "1.2.0", AgentImage: "r.example.com:5000/agent@sha256:00"}, "1.2.9", ""},
		{Operator{Version: "1.3.0", AgentImage: "agent:0d1c"}, "development", ""},
		{Operator{}, "1.2.9", ""},
	} {
		if got := c.operator.Skew(c.release); got != c.want {
			t.Errorf("%+v with %s: %q, want %q", c.operator, c.release, got, c.want)
		}
	}
}
