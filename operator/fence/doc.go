// Package fence is what a session has in the network namespace of a pod of which
// one container is frozen: a fence, which refuses the container's new connections;
// a redirect of the ports that the local process listens on; and answers to the
// kubelet's probes where it does not listen.
//
// All of it is one nftables table, "inet understudy-SESSION", which is replaced as
// a whole with each change, so that nothing is ever open in between. The rules
// belong to the network namespace: they outlive the containers in it, and the
// agent. Remove takes them away, whoever made them.
//
// # Whose connections are refused
//
// A container that is started again has another cgroup and other sockets. So the
// fence does not look for the container: inside of the pod it refuses everybody but
// the containers that are known to be others, from the first packet on.
//
//   - By cgroup, where the pod has one in the version 2 hierarchy (Scope.Pod; hybrid
//     machines included; Linux 5.13): sockets of the pod's cgroup are refused but for
//     those of the spared containers' cgroups. What is not of the pod, such as the
//     agent or a runtime's port-forward, is never refused.
//   - Else by mark and user: everything in the namespace is refused but for sockets
//     with the agent's Mark (see Fence.Control), what processes of the spared users
//     send, and what comes in for the sockets that they listen with. Where the pod's only container is
//     the target that is exact. Where a process of another container has a user of
//     one of the target's it cannot be done, and ScopeOfUsers says so.
//
// A connection of TCP is new with its first packet, known by its flags. Connections
// that exist are not touched, and not tracked. UDP has no connections, so all of a
// container's datagrams are refused while it is held; by mark and user, conntrack says
// what is a reply to another container. ICMP and unix sockets are not fenced.
//
// # Who is redirected
//
// Connections to stolen ports are given to a listener of the agent's (TPROXY) after
// other tables' address translation, from outside and over loopback alike: so where
// there is a mesh they come out of its proxy first. They keep both addresses. What
// another socket has already, established or half open, stays where it is. Datagrams
// of UDP are taken likewise; answers to them are sent by a raw socket, as the frozen
// container still has the port.
package fence
