package plan

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// steps are what would happen, in order: until the local process starts, and
// when it has ended.
func (w *World) steps() (before, after []string) {
	switch {
	case w.Target.None():
		return []string{
				"an empty pod is made in namespace " + w.Target.Namespace + ", of understudy's agent alone; no workload is touched",
				"your process starts, in the network of that pod",
			}, []string{
				"the pod goes",
			}
	case w.freezes():
		return w.freezeSteps()
	case w.attaches():
		return []string{
				fmt.Sprintf("an agent is made on %s, in a namespace of its own, and joins the network of %s, which goes on running and reading", w.node(), w.Target),
				"your process starts; a port on which it listens is taken from the pod meanwhile",
			}, []string{
				fmt.Sprintf("the agent goes, and %s has its ports back", w.Target),
			}
	case w.scalesDown():
		return w.holdSteps()
	}
	before = []string{
		w.makes(),
		fmt.Sprintf("%s is left as it is, and goes on reading", w.Target),
		"your process starts" + w.traffic(),
	}
	return before, []string{"the stand-in goes; nothing else was touched"}
}

func (w *World) holdSteps() (before, after []string) {
	for _, scaler := range w.scaledObjects() {
		before = append(before, fmt.Sprintf("KEDA's ScaledObject %s is paused", scaler.GetName()))
		after = append(after, fmt.Sprintf("KEDA's ScaledObject %s goes on", scaler.GetName()))
	}
	switch s := w.standing(); {
	case s.resume != "":
		before = append(before, "the rollout that is paused is waited for, until somebody resumes it or the set-up has taken too long")
	case s.rollout != "":
		before = append(before, "the rollout that goes on is waited for")
	}
	holds := []string{w.zeroed(), "its pods are waited for, until no container of theirs runs" + w.grace()}
	if len(w.report.Conflicts) > 0 {
		before = append(append(before, holds...), w.makes())
	} else {
		before = append(append(before, w.makes()), holds...)
	}
	before = append(before, "your process starts"+w.traffic())
	after = append([]string{"the stand-in goes, and is seen to be gone", w.restored()}, after...)
	return before, after
}

func (w *World) makes() string {
	return fmt.Sprintf("a stand-in is made, a copy of the pod of %s in which understudy's agent has the place of container %s", w.Target, w.Target.Container)
}

// zeroed says how the target is kept from reading.
func (w *World) zeroed() string {
	pods := ""
	if self := w.self(); self != nil && len(self.PodNames) > 0 {
		pods = ": " + strings.Join(self.PodNames, ", ")
	}
	switch w.Target.Group + "/" + w.Target.Resource {
	case batchv1.GroupName + "/cronjobs":
		return fmt.Sprintf("%s is suspended, and begins no new job", w.Target)
	case batchv1.GroupName + "/jobs":
		return fmt.Sprintf("%s is suspended, which ends its pods%s", w.Target, pods)
	case "keda.sh/scaledjobs":
		return fmt.Sprintf("%s is paused, and begins no new job", w.Target)
	}
	return fmt.Sprintf("%s of %s %s scaled to zero%s", count(w.Target.Replicas, "pod", "pods"), w.Target, isAre(w.Target.Replicas), pods)
}

// restored says what is put back.
func (w *World) restored() string {
	replicas := w.Target.Replicas
	if claim := w.claim(); claim != nil {
		replicas = claim.Replicas
	}
	switch {
	case w.Target.Group == batchv1.GroupName && replicas == 0:
		return fmt.Sprintf("%s stays suspended, as it is now", w.Target)
	case w.Target.Group == batchv1.GroupName, w.Target.Resource == "scaledjobs":
		return fmt.Sprintf("%s goes on", w.Target)
	case replicas == 0:
		return fmt.Sprintf("%s stays at 0 replicas, as it is now", w.Target)
	}
	return fmt.Sprintf("%s of %s %s put back", count(replicas, "replica", "replicas"), w.Target, isAre(replicas))
}

// defaultGrace is how long a pod may take to end that says nothing of it.
const defaultGrace = 30

func (w *World) graceSeconds() int64 {
	if spec := w.spec(); spec != nil {
		return ptr.Deref(spec.TerminationGracePeriodSeconds, defaultGrace)
	}
	return defaultGrace
}

func (w *World) grace() string {
	return fmt.Sprintf(" (they may take %s to end)", time.Duration(w.graceSeconds())*time.Second)
}

// longGrace is where it should be said what a set-up waits for.
const longGrace = 60

// grace says of pods that may take their time that a session waits as long.
func grace(w *World) []Finding {
	if seconds := w.graceSeconds(); w.scalesDown() && w.Target.Replicas > 0 && seconds > longGrace {
		return []Finding{{GracePeriod, Notes, fmt.Sprintf("the target's pods may take %s to end (terminationGracePeriodSeconds), and your process starts after that", time.Duration(seconds)*time.Second), ""}}
	}
	return nil
}

// traffic says which connections come to the local process.
func (w *World) traffic() string {
	var ports []string
	for _, port := range w.report.Ports {
		ports = append(ports, fmt.Sprintf("%d (%s)", port.Port, strings.ReplaceAll(port.Why, ",", ", ")))
	}
	switch {
	case len(ports) == 0:
		return "; no port of it is opened in the cluster"
	case !w.scalesDown() && (w.Asked == nil || !w.Asked.ShareTraffic):
		return "; it is reached at the stand-in's own address on port " + strings.Join(ports, ", ") + ", and no Service leads there"
	}
	return "; connections come to it on port " + strings.Join(ports, ", ") + ", where it listens"
}

func (w *World) freezeSteps() (before, after []string) {
	connections := "its connections that are open are cut, so that a broker gives to others what it had delivered"
	if w.Asked != nil && !w.Asked.ReleaseConnections {
		connections = "its connections that are open are kept, and with them what a broker had delivered there"
	}
	agent := fmt.Sprintf("an agent is made on %s, in a namespace of its own", w.node())
	lost := "where the agent is lost its guard on the node thaws at once; where that is lost too the kubelet's restart of the agent, then the operator; by hand: understudy thaw"
	if w.Alone {
		agent = fmt.Sprintf("this program makes an agent on %s, in namespace %s, with your own rights and no operator", w.node(), cmp.Or(w.Asked.AgentNamespace, w.Target.Namespace))
		lost = "where the agent is lost its guard on the node thaws at once; where that is lost too the kubelet's restart of the agent; by hand: understudy thaw"
	}
	before = []string{
		agent,
		fmt.Sprintf("new connections of container %s of %s are refused, then the container is frozen, and the kernel confirms it", w.Target.Container, w.Target),
		connections,
		"your process starts; a port on which it listens is taken from the pod meanwhile",
	}
	after = []string{
		fmt.Sprintf("the agent thaws container %s, and goes when nothing is frozen any more", w.Target.Container),
		lost,
	}
	return before, after
}

func (w *World) node() string {
	if w.Target.Pod != nil && w.Target.Pod.Spec.NodeName != "" {
		return "node " + w.Target.Pod.Spec.NodeName
	}
	return "the pod's node"
}

// pods are the names of those that would end, or be frozen.
func (w *World) pods() []string {
	if self := w.self(); self != nil && w.scalesDown() {
		return self.PodNames
	}
	if w.freezes() || w.attaches() {
		return []string{w.Target.Name}
	}
	return nil
}

func count(n int32, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func isAre(n int32) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// ports are the stand-in's, for programs.
func (w *World) ports() []Port {
	var ports []Port
	for _, port := range w.report.Ports {
		ports = append(ports, Port{Port: int32(port.Port), Protocol: map[string]corev1.Protocol{"udp": corev1.ProtocolUDP}[port.Network], Why: strings.Split(port.Why, ",")})
	}
	for i := range ports {
		if ports[i].Protocol == "" {
			ports[i].Protocol = corev1.ProtocolTCP
		}
	}
	return ports
}
