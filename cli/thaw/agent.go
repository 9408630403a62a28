package thaw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/pending"
)

// thaw runs the agent that only thaws.
func thaw(ctx context.Context, kube kubernetes.Interface, o Options, node string, target *corev1.Pod) (said string, err error) {
	pods := kube.CoreV1().Pods(o.Agents)
	made, err := create(ctx, kube, pod(o, node, nodeagent.NodeUID(target)))
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return "", &failure.Failure{
			What: fmt.Sprintf("an agent that thaws cannot be made in namespace %s", o.Agents), Err: err,
			Hint: "you need a namespace that allows privileged pods, and the right to make pods there: name it with --agents-namespace",
		}
	}
	if err != nil {
		return "", fmt.Errorf("making an agent that thaws, on node %s: %w", node, err)
	}
	name := made.Namespace + "/" + made.Name
	o.Say("thawing on node %s, by pod %s", node, name)
	now, err := o.ended(ctx, kube, made)
	left := "its pod " + name + " was deleted"
	gone := pods.Delete(context.WithoutCancel(ctx), made.Name, metav1.DeleteOptions{})
	if gone = ignoreNotFound(gone); gone != nil {
		gone = fmt.Errorf("deleting pod %s, which is left: %w", name, gone)
		left = "its pod " + name + " is left"
	}
	const unknown = "what is frozen is not known: "
	switch {
	case err != nil:
		err = &failure.Failure{What: "waiting for the agent that thaws", Err: err, Hint: unknown + left + "; mend what keeps it, or give it more time with --timeout, and run this again"}
	case now == nil:
		err = failure.New(unknown+"run this again", "pod %s, which was to thaw, is gone: somebody else has deleted it", name)
	default:
		said, err = read(ctx, kube, now, unknown+left+"; see to the node and its kubelet, and run this again")
	}
	if err == nil && strings.HasPrefix(said, settings.NothingThere) {
		err = o.mustBeGone(ctx, kube, target)
	}
	return said, errors.Join(err, gone)
}

// mustBeGone fails where a pod runs of which its node has nothing: then what was looked
// for is not what its node has, and it may be frozen still.
func (o Options) mustBeGone(ctx context.Context, kube kubernetes.Interface, target *corev1.Pod) error {
	now, err := kube.CoreV1().Pods(target.Namespace).Get(ctx, target.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && now.UID != target.UID:
		return nil
	case err != nil:
		return fmt.Errorf("reading pod %s/%s again: %w", target.Namespace, target.Name, err)
	}
	runs := func(status corev1.ContainerStatus) bool { return status.State.Running != nil }
	if !slices.ContainsFunc(slices.Concat(now.Status.ContainerStatuses, now.Status.InitContainerStatuses), runs) {
		return nil
	}
	return failure.New(fmt.Sprintf("what is frozen on the node is named by: understudy thaw --node %s; nothing was thawed", now.Spec.NodeName),
		"pod %s/%s runs, and there is no process on node %s in a cgroup of its UID %s", now.Namespace, now.Name, now.Spec.NodeName, nodeagent.NodeUID(now))
}

// read is what an agent that thaws has said at its end.
func read(ctx context.Context, kube kubernetes.Interface, agent *corev1.Pod, hint string) (string, error) {
	ended, proved, message := nodeagent.Ended(agent)
	message = strings.TrimSpace(message)
	switch {
	case !ended:
		return "", failure.New(hint, "node %s did not let the agent that thaws run: %s", agent.Spec.NodeName, strings.TrimSuffix(pending.Reason(agent, nil), "."))
	case !proved:
		return "", failure.New(cmp.Or(byName(ctx, kube, agent.Spec.NodeName, message), "run this again; what it says is what it could not undo"), "not thawed: %s", message)
	}
	return message, nil
}

// byName says how to thaw the node's pods of which a message has the UID; empty for
// none.
func byName(ctx context.Context, kube kubernetes.Interface, node, message string) string {
	found, err := kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return ""
	}
	var lines []string
	for _, pod := range found.Items {
		if strings.Contains(message, "of pod "+string(nodeagent.NodeUID(&pod))+" ") {
			lines = append(lines, fmt.Sprintf("understudy thaw --pod %s -n %s", pod.Name, pod.Namespace))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	slices.Sort(lines)
	return "where they are to run:\n" + strings.Join(lines, "\n")
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// create makes the pod, without its priority where that is refused.
func create(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) (*corev1.Pod, error) {
	made, err := kube.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{FieldManager: "understudy"})
	if pod.Spec.PriorityClassName == "" || !apierrors.IsForbidden(err) {
		return made, err
	}
	pod = pod.DeepCopy()
	pod.Spec.PriorityClassName = ""
	return kube.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{FieldManager: "understudy"})
}

// pod is the agent that only thaws: the same as the operator makes, but nobody's
// session's, so that nobody else waits for it.
func pod(o Options, node string, uid types.UID) *corev1.Pod {
	command := []string{"/understudy-agent", "thaw"}
	if uid != "" {
		command = append(command, "--pod="+string(uid))
	}
	volume := func(name, path string, kind corev1.HostPathType) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "thaw-", Namespace: o.Agents, Labels: map[string]string{"app.kubernetes.io/name": "understudy"}},
		Spec: corev1.PodSpec{
			NodeName: node, PriorityClassName: o.priority, HostPID: true, RestartPolicy: corev1.RestartPolicyNever,
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken: ptr.To(false),
			Volumes: []corev1.Volume{
				volume("cgroup", "/sys/fs/cgroup", corev1.HostPathDirectory), volume("state", "/run/understudy", corev1.HostPathDirectoryOrCreate),
			},
			Containers: []corev1.Container{{
				Name: nodeagent.AgentContainer, Image: o.Image, Command: command,
				Resources:       corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")}},
				SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true), RunAsUser: ptr.To(int64(0)), ReadOnlyRootFilesystem: ptr.To(true)},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "cgroup", MountPath: "/sys/fs/cgroup", MountPropagation: ptr.To(corev1.MountPropagationHostToContainer)},
					{Name: "state", MountPath: "/run/understudy"},
				},
			}},
		},
	}
}
