package clone

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/tunnel"
)

// InstallContainer is the init container of v1alpha1.DeliveryInitContainer.
const InstallContainer = "understudy-install"

// What a stand-in has of ours beside it.
const (
	binaryVolume = "understudy-bin"
	secretVolume = "understudy-agent"
	ownDir       = "/understudy.dev"
)

// GracePeriodSeconds is how long the stand-in may take to end. The agent has
// nothing to finish, and the workload comes back only after it is gone.
const GracePeriodSeconds int64 = 5

// Options says for whom and how a stand-in is made.
type Options struct {
	// SessionName and SessionUID are the Session that will own the pod.
	SessionName string
	SessionUID  types.UID
	// PodName is the stand-in's name, at most 63 characters so that it is the
	// hostname whole.
	PodName string
	// Container is the container whose place is taken: a container or a
	// native sidecar. Empty is the only container there is.
	Container string
	// SecretName is the Secret with the agent's key and configuration.
	SecretName string

	// AgentImage is the agent's image reference.
	AgentImage string
	// AgentPullPolicy of that image; empty leaves it to the API server.
	AgentPullPolicy corev1.PullPolicy
	// Delivery of the program; empty is by image volume.
	Delivery v1alpha1.AgentDelivery

	// TakesTraffic says that what comes to the target is to come to the
	// stand-in: the target is held at zero, or the traffic is shared. Without
	// it host ports are dropped: they deliver to a pod that is not ready.
	TakesTraffic bool
	// AllowHostNetwork lets a target with hostNetwork through. There the agent
	// would open its ports on the node itself and share them with the old pods.
	AllowHostNetwork bool

	// ExcludeContainers are containers and native sidecars that the stand-in
	// goes without; "*" is every one but the replaced.
	ExcludeContainers []string
	// ExcludeInitContainers are init containers that it goes without; "*" is
	// every one. Native sidecars are containers, not init containers.
	ExcludeInitContainers []string

	// Labels are set on the pod beside the template's own, over them.
	Labels map[string]string
	// Annotations likewise.
	Annotations map[string]string

	// Services of the namespace. Those that select the stand-in give ports to
	// the report; all of them keep the label keys that they select on.
	Services []corev1.Service
	// Selectors of everything else that must go on seeing the stand-in as it
	// sees the target: network policies (subjects and peers) and disruption
	// budgets; see SelectorsOf.
	Selectors []metav1.LabelSelector
	// LimitRanges of the namespace.
	LimitRanges []corev1.LimitRange
	// Claims are the namespace's persistent volume claims that the pod mounts.
	// One that is not here is taken to allow a single node.
	Claims []corev1.PersistentVolumeClaim
	// ListenPorts are further TCP ports that the session asked for.
	ListenPorts []int32

	// Agent is what the owner asks of the agent's pod: its resources over
	// DefaultRequests and DefaultLimits and, for FromNothing, its place.
	Agent v1alpha1.AgentPod
}

// Report is what a caller should know about a stand-in beside the pod itself.
type Report struct {
	// Container that was replaced.
	Container string
	// Conflicts are the reasons for which the stand-in may not run, or take
	// the traffic, while pods of the target still do: then the target is to be
	// held first.
	Conflicts []Conflict
	// Notes are sentences for the owner about what is not as in the target.
	Notes []string
	// AgentPort is a port that no container of the pod is known to use.
	AgentPort uint16
	// Ports that may be opened in the cluster.
	Ports []tunnel.Port
	// ServicePorts are the TCP ports by which Services reach the replaced
	// container: the stand-in is ready when each has a local listener.
	ServicePorts []uint16
	// Mounts of the replaced container whose content is copied.
	Mounts []Mount
}

// StandIn makes the stand-in of a target's pod. The error is a *RefusedError
// when the target cannot be stood in for as asked.
func StandIn(source Source, opts Options) (*corev1.Pod, Report, error) {
	template := source.template.DeepCopy()
	original, spec := source.template.Spec.DeepCopy(), &template.Spec
	if err := checkOptions(opts); err != nil {
		return nil, Report{}, fmt.Errorf("making a stand-in: %w", err)
	}
	name, err := resolveTarget(template, opts.Container)
	if err != nil {
		return nil, Report{}, err
	}
	if err := checkPod(spec, opts); err != nil {
		return nil, Report{}, err
	}
	report := Report{Container: name}

	used := usedVolumes(spec)
	excluded, notes, err := exclude(spec, name, opts)
	if err != nil {
		return nil, Report{}, err
	}
	report.Notes = append(report.Notes, notes...)
	dropUnusedVolumes(spec, used)

	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   source.namespace,
			Name:        opts.PodName,
			Labels:      podLabels(template.Labels, opts),
			Annotations: annotations(template.Annotations, excluded, opts),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(
				&metav1.ObjectMeta{Name: opts.SessionName, UID: opts.SessionUID},
				v1alpha1.GroupVersion.WithKind("Session"))},
		},
	}
	// The probes are still the application's here. A port of an excluded
	// container may be opened, but the stand-in does not wait for it.
	services := Selecting(opts.Services, pod.Labels)
	report.Ports = Ports(spec, name, services, opts.ListenPorts)
	report.ServicePorts = ServicePorts(original, name, services)
	report.Mounts = Mounts(spec, name)
	report.AgentPort = AgentPort(spec)

	keepRunning(spec)
	freeToSchedule(spec)
	if !opts.TakesTraffic && !spec.HostNetwork {
		report.Notes = append(report.Notes, dropHostPorts(spec)...)
	}
	shrink(spec, original, name, excluded, pod.Annotations, opts)
	target := findContainer(spec, name)
	replace(target, opts)
	deliver(spec, target, opts)

	pod.Spec = *spec
	report.Conflicts = conflicts(pod, opts.Claims)
	return pod, report, nil
}

// shrink gives the agent's container its own small resources, and keeps all
// that reads them true to the target.
func shrink(spec, original *corev1.PodSpec, name string, excluded map[string]bool, annotations map[string]string, opts Options) {
	forContainers, forPods := boundsOf(opts.LimitRanges, corev1.LimitTypeContainer), boundsOf(opts.LimitRanges, corev1.LimitTypePod)
	reads := &downward{
		original: original, target: name, excluded: excluded, container: forContainers,
		annotations: map[string]string{}, unlimited: map[corev1.ResourceName]bool{},
	}
	reads.resolve(spec)
	maps.Copy(annotations, reads.annotations)

	target := findContainer(spec, name)
	before := target.Resources
	was := effective(before, forContainers)
	target.Resources = agentResources(was, reads.unlimited, forContainers, opts)
	fitPodLevel(spec, original, target, forPods, forContainers)
	fitPod(spec, target, was, forPods, forContainers)
	tolerateDevices(spec, devices(before))
	dropUnusedClaims(spec)
	dropHugePageVolumes(spec)
}

// checkOptions finds what a caller forgot.
func checkOptions(opts Options) error {
	for _, required := range []struct{ field, value string }{
		{"session name", opts.SessionName}, {"session uid", string(opts.SessionUID)}, {"pod name", opts.PodName},
		{"secret name", opts.SecretName}, {"agent image", opts.AgentImage},
	} {
		if required.value == "" {
			return fmt.Errorf("no %s given", required.field)
		}
	}
	if !slices.Contains([]v1alpha1.AgentDelivery{"", v1alpha1.DeliveryImageVolume, v1alpha1.DeliveryInitContainer, v1alpha1.DeliveryOwnImage}, opts.Delivery) {
		return fmt.Errorf("unknown delivery %q", opts.Delivery)
	}
	return nil
}
