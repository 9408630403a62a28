// Package manager wires the operator: flags, logging, caches, leader election,
// health, metrics, and the controllers of package session.
//
// # What the operator may do
//
// Its role holds these rules and no others; each is here with its reason.
//
//   - understudy.dev sessions: get, list, watch; update, patch (the finalizer); delete
//     (sessions that ended by themselves, after a while); sessions/status: update.
//   - apps deployments, statefulsets, replicasets, batch jobs, cronjobs, and where
//     the chart says so argoproj.io rollouts, keda.sh scaledobjects and scaledjobs
//     (paused by an annotation) and custom resources: get, list (whose
//     pods are they; left-over claims), watch (metadata); patch and update (claim,
//     number, managed fields; where the chart says so labels for Flux). A policy
//     limits it to that. apps daemonsets: get, watch. The definitions of those
//     custom resources: get.
//   - in the namespaces that the chart names, argoproj.io applications: get, list,
//     patch (whether they sync by themselves; a policy limits it to that).
//   - pods: get, list, watch; create and delete (stand-ins: a policy limits it to
//     pods with our label). nodes: get (is the node of a vanished pod Ready).
//   - secrets: create, delete (the agents' keys); never read.
//   - services, limitranges, persistentvolumeclaims, networkpolicies,
//     poddisruptionbudgets: list (what a stand-in has to fit into).
//   - events (core): list (why a stand-in is pending); events.k8s.io events:
//     create, patch.
//   - coordination.k8s.io leases: get, list, watch, create, delete; update and
//     patch, which it grants to owners. pods/portforward: get, create, only to
//     grant them.
//   - rbac.authorization.k8s.io roles, rolebindings: get, create, patch, delete
//     (one pair per session). Neither escalate nor bind.
//   - admissionregistration.k8s.io validatingadmissionpolicies and their
//     bindings: get, of the one name.
//   - in the agents' namespace, pods: patch (the finalizer of an agent whose end was
//     read). What it makes there is privileged: a policy lets it make the agent's
//     own image only, with two folders of the node.
//   - in its own namespace, leases: get, create, update (leader election).
package manager
