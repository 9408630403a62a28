package nodeagent

import (
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// AgentContainer is the only container of a node agent's pod.
const AgentContainer = "agent"

// What of the node is mounted into the agent, at the same path. The admission
// policy of the operator's own account allows these two and no other.
const (
	// CgroupDir is where the kernel's control groups are.
	CgroupDir = "/sys/fs/cgroup"
	// StateDir is where the node remembers what is frozen.
	StateDir = "/run/understudy"
)

// graceSeconds is how long an agent may take to thaw and to clean.
const graceSeconds int64 = 20

// Options says for what an agent's pod is made.
type Options struct {
	// Namespace of agents on nodes.
	Namespace string
	// Session that it is for, with Number counting its pods from 1.
	SessionNamespace, SessionName string
	SessionUID                    types.UID
	Number                        int32
	// Image and PullPolicy of the agent.
	Image      string
	PullPolicy corev1.PullPolicy
	// NodeName that it runs on: no scheduler is asked.
	NodeName string
	// PriorityClass of the pod; empty for none. A critical one the kubelet makes room
	// for, and does not throw out.
	PriorityClass string
	// Resources that were asked for, over its own.
	Resources v1alpha1.AgentResources
	// Target is the pod that is frozen, as its node calls it: see NodeUID. It is told
	// to an agent that only thaws.
	Target types.UID
}

// Pod is the agent that freezes and serves the owner. It is ready when the
// kernel has confirmed the freeze. It ends with code 0 and the word thawed in
// its message when nothing is frozen any more, and is then not started again.
func Pod(o Options) *corev1.Pod {
	pod := base(o, "node", "--config-dir="+settings.Directory)
	container := &pod.Spec.Containers[0]
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "settings", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: SecretName(o.SessionUID, o.Number), DefaultMode: ptr.To(int32(0o400))},
	}}, corev1.Volume{Name: "once", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	container.VolumeMounts = append(container.VolumeMounts,
		corev1.VolumeMount{Name: "settings", MountPath: settings.Directory, ReadOnly: true},
		corev1.VolumeMount{Name: "once", MountPath: settings.OnceDirectory})
	container.ReadinessProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{
			Command: []string{program, "ready", "--ask=" + path.Join(settings.OnceDirectory, settings.ReadySocket)},
		}},
		PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 1,
	}
	return pod
}

// Thaw is an agent that does nothing but thaw what is frozen of one pod on its
// node. It ends as Pod does, and is started again until it has succeeded.
func Thaw(o Options) *corev1.Pod {
	return base(o, "thaw", "--pod="+string(o.Target))
}

// program is where the agent's image has it.
var program = path.Join("/", path.Base(settings.Binary))

func base(o Options, command string, args ...string) *corev1.Pod {
	fromNode := func(name, dir string, kind corev1.HostPathType) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: &kind}}}
	}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Namespace, Name: PodName(o.SessionUID, o.Number),
			Labels:     LabelsOf(o.SessionNamespace, o.SessionName, o.SessionUID),
			Finalizers: []string{v1alpha1.AgentFinalizer},
			Annotations: map[string]string{
				// Moved elsewhere it would be of no use to the pod it freezes.
				"cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
				"karpenter.sh/do-not-disrupt":                    "true",
			},
		},
		Spec: corev1.PodSpec{
			NodeName:          o.NodeName,
			PriorityClassName: o.PriorityClass,
			// A cordoned or tainted node has pods to be thawed too.
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			HostPID:                       true,
			RestartPolicy:                 corev1.RestartPolicyOnFailure,
			TerminationGracePeriodSeconds: ptr.To(graceSeconds),
			AutomountServiceAccountToken:  ptr.To(false),
			EnableServiceLinks:            ptr.To(false),
			Volumes: []corev1.Volume{
				fromNode("cgroup", CgroupDir, corev1.HostPathDirectory),
				fromNode("state", StateDir, corev1.HostPathDirectoryOrCreate),
			},
			Containers: []corev1.Container{{
				Name: AgentContainer, Image: o.Image, ImagePullPolicy: o.PullPolicy,
				Command:                  append([]string{program, command}, args...),
				TerminationMessagePolicy: corev1.TerminationMessageReadFile,
				Resources: o.Resources.Over(corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
				}),
				SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true), RunAsUser: ptr.To(int64(0)), ReadOnlyRootFilesystem: ptr.To(true)},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "cgroup", MountPath: CgroupDir, MountPropagation: ptr.To(corev1.MountPropagationHostToContainer)},
					{Name: "state", MountPath: StateDir},
				},
			}},
		},
	}
}

// Ended reads how an agent's container ended: proved says that it saw itself
// that nothing is frozen any more.
func Ended(pod *corev1.Pod) (ended, proved bool, message string) {
	status := Status(pod, AgentContainer)
	if status == nil || status.State.Terminated == nil {
		return false, false, ""
	}
	t := status.State.Terminated
	message = t.Message
	if message == "" {
		message = t.Reason
	}
	return true, t.ExitCode == 0, message
}

// Ready says whether the kubelet has seen the agent say that it is.
func Ready(pod *corev1.Pod) bool {
	status := Status(pod, AgentContainer)
	return status != nil && status.State.Running != nil && status.Ready
}

// OnlyThaws says whether a pod is one that Thaw made.
func OnlyThaws(pod *corev1.Pod) bool {
	return len(pod.Spec.Containers) == 1 && len(pod.Spec.Containers[0].Command) > 1 && pod.Spec.Containers[0].Command[1] == "thaw"
}

// Number of a pod among its session's, by its name; 0 for another's.
func Number(pod *corev1.Pod) int32 {
	_, uid, _ := SessionOf(pod)
	text, ok := strings.CutPrefix(pod.Name, Name(uid)+"-")
	number, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil {
		return 0
	}
	return int32(number)
}
