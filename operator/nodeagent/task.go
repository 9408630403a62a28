package nodeagent

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/clone"
	"understudy.dev/understudy/operator/fence/plan"
)

// Task is what an agent on a node is for.
type Task struct {
	// Session is its UID.
	Session string
	// ClientKey is the owner's public key, PKIX DER; Owner is their name, for
	// those who come second.
	ClientKey []byte
	Owner     string
	Lease     time.Duration
	// Pod that it is for, as it is now, and the container of it by name and by
	// the runtime's ID, as the pod's status has it.
	Pod                    *corev1.Pod
	Container, ContainerID string
	// Services of the pod's namespace.
	Services []corev1.Service
	// ListenPorts and ListenAll are the ports that may be opened besides.
	ListenPorts []int32
	ListenAll   bool
	// Freezer is the hierarchy to freeze in, "v1" or "v2"; empty to choose.
	Freezer string
	// NotAfter is when it may not begin any more; zero for never.
	NotAfter time.Time
	// Attach leaves the container running.
	Attach bool
	// Release has the frozen container's connections cut.
	Release bool
}

// Config is what an agent is told of its task. An error is one of the task's.
func (t Task) Config() (settings.Config, error) {
	_, containerID, _ := strings.Cut(t.ContainerID, "://")
	probes, inPod := plan.Probes(t.Pod, t.Container)
	if t.Attach {
		// The container answers them itself.
		probes, inPod = nil, false
	}
	selecting := clone.Selecting(t.Services, t.Pod.Labels)
	config := settings.Config{
		Session: t.Session, Port: settings.DefaultPort, ClientKey: t.ClientKey, LeaseSeconds: int(t.Lease / time.Second),
		Ports: clone.Ports(&t.Pod.Spec, t.Container, selecting, t.ListenPorts), ListenAll: t.ListenAll,
		Mounts: clone.Paths(clone.Mounts(&t.Pod.Spec, t.Container)), ShareTraffic: true,
		Freeze: &settings.Freeze{
			Pod: t.Pod.Namespace + "/" + t.Pod.Name, PodUID: string(NodeUID(t.Pod)), Container: t.Container, ContainerID: containerID,
			Owner: t.Owner, Freezer: t.Freezer, NotAfter: t.NotAfter, Attach: t.Attach, Release: t.Release && !t.Attach,
			GraceSeconds: t.grace(),
			Probes:       probes, ProbesInPod: inPod,
		},
	}
	if err := config.Validate(); err != nil {
		return config, fmt.Errorf("the agent would not take its configuration: %w", err)
	}
	return config, nil
}

// grace is the longest time that the kubelet gives the container to end, in seconds:
// the pod's, or that of a probe for which it restarts one.
func (t Task) grace() int {
	grace := ptr.Deref(t.Pod.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	if c := Container(&t.Pod.Spec, t.Container); c != nil {
		for _, probe := range []*corev1.Probe{c.LivenessProbe, c.StartupProbe} {
			if probe != nil {
				grace = max(grace, ptr.Deref(probe.TerminationGracePeriodSeconds, 0))
			}
		}
	}
	return int(grace)
}

// Secret is the data of an agent's Secret, and the fingerprint of the key in it.
func (t Task) Secret() (data map[string][]byte, fingerprint string, err error) {
	config, err := t.Config()
	if err != nil {
		return nil, "", err
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the agent's configuration: %w", err)
	}
	key, fingerprint, err := settings.NewKey()
	return map[string][]byte{settings.KeyFile: key, settings.ConfigFile: encoded}, fingerprint, err
}
