// Package network plans and makes the cluster's network: a bridge on the control
// machine, a veth pair from it to each node, routes to the nodes' pods. Nothing
// of it is connected to the machine outside, so no packet can leave.
package network

import "net/netip"

// The cluster's address ranges. They exist only inside of the cluster's own
// namespaces and so collide with nothing outside.
var (
	Machines = netip.MustParsePrefix("172.30.0.0/24")
	Pods     = netip.MustParsePrefix("10.244.0.0/16")
	Services = netip.MustParsePrefix("10.96.0.0/16")

	// Control is the control machine's address; the API server is served there.
	Control = netip.MustParseAddr("172.30.0.1")
	// APIService is the cluster address of the API server: the first of Services.
	APIService = netip.MustParseAddr("10.96.0.1")
	// DNSService is the cluster address of the DNS server.
	DNSService = netip.MustParseAddr("10.96.0.10")
)

// ControlName is the host name of the machine that the control plane runs on.
const ControlName = "control"

// Node is one node's place in the network.
type Node struct {
	Name    string
	Address netip.Addr
	// Pods is the range that the node's pods have their addresses from.
	Pods netip.Prefix
}

// Nodes are the nodes of the cluster.
var Nodes = []Node{
	{Name: "node-1", Address: netip.MustParseAddr("172.30.0.11"), Pods: netip.MustParsePrefix("10.244.1.0/24")},
	{Name: "node-2", Address: netip.MustParseAddr("172.30.0.12"), Pods: netip.MustParsePrefix("10.244.2.0/24")},
}

// Route leads to another machine's pods.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Routes are those that a machine needs to reach the pods of all nodes but
// itself. Everything else goes to the control machine, which answers that it
// knows no way: a program that calls the outside is told so at once, rather than
// waiting for an answer that never comes.
func Routes(machine string) []Route {
	var routes []Route
	for _, node := range Nodes {
		if node.Name != machine {
			routes = append(routes, Route{To: node.Pods, Via: node.Address})
		}
	}
	if machine != ControlName {
		routes = append(routes, Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: Control})
	}
	return routes
}
