// Command understudy-agent is the in-cluster end of a session's tunnel.
package main

import "understudy.dev/understudy/operator/agent"

func main() { agent.Main() }
