package nodeagent

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// SoloOptions say for what an agent is made where no operator makes it: by its
// owner, with the owner's own rights.
type SoloOptions struct {
	// Namespace that the agent is made in.
	Namespace string
	// Session is the UID that the owner's machine has made up.
	Session types.UID
	// Owner of the session, to be named to whoever comes second.
	Owner string
	// Image of the agent.
	Image string
	// Target is the pod that is frozen, Container the one of its containers.
	Target    *corev1.Pod
	Container string
	// Setup is how long its owner waits for it.
	Setup time.Duration
	// Wishes are what its owner wants of the pod beside that.
	Wishes Wishes
}

// Wishes are what the owner of an agent wants of its pod, who makes it with rights of
// one's own: what these do not reach, the API server refuses. Where it runs is not
// among them, for that is where its target does; it tolerates every taint there.
type Wishes struct {
	// Labels and Annotations beside the agent's own.
	Labels, Annotations map[string]string
	// Resources over its own.
	Resources v1alpha1.AgentResources
	// PriorityClass and ServiceAccount are names; no token of the account is mounted.
	PriorityClass, ServiceAccount string
	// PullPolicy of its image, and PullSecrets.
	PullPolicy  corev1.PullPolicy
	PullSecrets []corev1.LocalObjectReference
	// AppArmor and Seccomp profiles of the pod.
	AppArmor *corev1.AppArmorProfile
	Seccomp  *corev1.SeccompProfile
}

// OwnerAnnotation is on an agent that its owner has made, and says who that is.
const OwnerAnnotation = "understudy.dev/owner"

// TargetAnnotation is on such an agent, and ContainerAnnotation: which pod it
// freezes, "namespace/name", and which container. Where it has not the pod's
// namespace nothing else on it tells.
const (
	TargetAnnotation    = "understudy.dev/target"
	ContainerAnnotation = "understudy.dev/container"
)

// SetupAnnotation is on such an agent, and says for how many seconds from its
// creation its owner waits for it.
const SetupAnnotation = "understudy.dev/setup-seconds"

const (
	// defaultSetup is for an agent that says nothing of it, or nothing that counts.
	defaultSetup = 10 * time.Minute
	// setupSlack is for what lies between the owner's giving up and others' knowing:
	// a request on its way, and a node's clock that is not the API server's.
	setupSlack = time.Minute
)

// Solo is the agent of a session without an operator, of which the API server
// lets there be one for a pod: it has the pod's name for its own. It is its own
// lock and its own memory: nobody else is there to take a finalizer off, so it has
// none, and goes with the pod that it freezes where one namespace has both.
func Solo(o SoloOptions) *corev1.Pod {
	pod := o.alone(Pod(o.options()), SoloName(o.Target.UID))
	for i := range pod.Spec.Volumes {
		if secret := pod.Spec.Volumes[i].Secret; secret != nil {
			secret.SecretName = pod.Name
		}
	}
	return pod
}

// SoloThaw is an agent that does nothing but thaw what is frozen of such a
// session's pod, where its agent went without the proof that it has.
func SoloThaw(o SoloOptions) *corev1.Pod {
	return o.alone(Thaw(o.options()), soloThawPrefix+string(o.Target.UID))
}

// SoloSecret is what Solo's pod is told; it goes with the pod.
func SoloSecret(pod *corev1.Pod, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, Labels: maps.Clone(pod.Labels),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Data: data,
	}
}

const (
	soloPrefix     = "freeze-pod-"
	soloThawPrefix = "thaw-pod-"
)

// SoloName is what the agent of a pod is called, whoever makes it without an
// operator.
func SoloName(target types.UID) string { return soloPrefix + string(target) }

// SoloTarget is the pod that an agent freezes which somebody has made without an
// operator. Its namespace and name are empty where an older one does not say.
func SoloTarget(agent *corev1.Pod) (namespace, name string, uid types.UID) {
	uid = types.UID(strings.TrimPrefix(strings.TrimPrefix(agent.Name, soloPrefix), soloThawPrefix))
	namespace, name, _ = strings.Cut(agent.Annotations[TargetAnnotation], "/")
	for _, owner := range agent.OwnerReferences {
		if owner.UID == uid { // one namespace has both
			namespace, name = agent.Namespace, owner.Name
		}
	}
	return namespace, name, uid
}

// IsSolo says whether a pod is an agent of a session without an operator, or one
// that thaws for it.
func IsSolo(pod *corev1.Pod) bool {
	return pod.Labels[v1alpha1.SessionUIDLabel] != "" && (strings.HasPrefix(pod.Name, soloPrefix) || strings.HasPrefix(pod.Name, soloThawPrefix))
}

// SoloLabels select such agents; an operator's have a namespace's label too.
const SoloLabels = v1alpha1.SessionUIDLabel + ",!" + v1alpha1.SessionNamespaceLabel

func (o SoloOptions) options() Options {
	return Options{
		Namespace: o.Namespace, SessionUID: o.Session, Number: 1, Image: o.Image,
		NodeName: o.Target.Spec.NodeName, Target: NodeUID(o.Target),
		PullPolicy: o.Wishes.PullPolicy, PriorityClass: o.Wishes.PriorityClass, Resources: o.Wishes.Resources,
	}
}

func (o SoloOptions) alone(pod *corev1.Pod, name string) *corev1.Pod {
	pod.Name, pod.Finalizers = name, nil
	// By the first it is known for one of ours to whoever looks for targets. There
	// is no session's namespace: no operator takes it for one of its own.
	pod.Labels = over(o.Wishes.Labels, map[string]string{
		v1alpha1.SessionLabel: name, v1alpha1.SessionUIDLabel: string(o.Session),
		// A proxy beside it would go on when it has ended.
		"sidecar.istio.io/inject": "false",
	})
	pod.Annotations = over(o.Wishes.Annotations, pod.Annotations)
	pod.Annotations["linkerd.io/inject"] = "disabled"
	pod.Annotations[OwnerAnnotation] = o.Owner
	pod.Annotations[TargetAnnotation] = o.Target.Namespace + "/" + o.Target.Name
	if o.Container != "" {
		pod.Annotations[ContainerAnnotation] = o.Container
	}
	if o.Setup > 0 {
		pod.Annotations[SetupAnnotation] = strconv.Itoa(int(o.Setup / time.Second))
	}
	pod.Spec.ServiceAccountName, pod.Spec.ImagePullSecrets = o.Wishes.ServiceAccount, o.Wishes.PullSecrets
	if o.Wishes.AppArmor != nil || o.Wishes.Seccomp != nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{AppArmorProfile: o.Wishes.AppArmor, SeccompProfile: o.Wishes.Seccomp}
	}
	if o.Namespace == o.Target.Namespace {
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: o.Target.Name, UID: o.Target.UID}}
	}
	return pod
}

// over is what somebody wants, and what the agent has, which wins.
func over(wanted, own map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, wanted)
	maps.Copy(all, own)
	return all
}

// Over says whether nothing of an agent's pod runs any more, or will.
func Over(pod *corev1.Pod) bool {
	if slices.Contains([]corev1.PodPhase{corev1.PodFailed, corev1.PodSucceeded}, pod.Status.Phase) {
		return true
	}
	_, proved, _ := Ended(pod)
	return proved
}

// NotAfter is when nobody waits any more for an agent that Solo made, by the API
// server's clock: it does not begin then.
func NotAfter(pod *corev1.Pod) time.Time {
	setup := defaultSetup
	if seconds, err := strconv.ParseUint(pod.Annotations[SetupAnnotation], 10, 31); err == nil {
		setup = time.Duration(seconds) * time.Second
	}
	return pod.CreationTimestamp.Add(setup + setupSlack)
}

// NeverRan says whether, as far as the kubelet has said, an agent's container was
// never started.
func NeverRan(pod *corev1.Pod) bool {
	if pod.Status.Phase != corev1.PodPending && pod.Status.Phase != "" {
		return false
	}
	status := Status(pod, AgentContainer)
	return status == nil || status.State.Running == nil && status.State.Terminated == nil && status.RestartCount == 0 && status.LastTerminationState.Terminated == nil
}

// Abandoned says whether an agent that Solo made has nothing frozen, and will not:
// it has not run, and it is too late for it now, by the API server's clock. To
// delete it is safe even where the kubelet is behind with its word: an agent that
// is asked to end thaws. One that only thaws is never too late.
func Abandoned(pod *corev1.Pod, now time.Time) bool {
	return IsSolo(pod) && !OnlyThaws(pod) && NeverRan(pod) && now.After(NotAfter(pod))
}
