package doctor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/session"
)

const (
	// logLines are how many lines of a log are asked for, and logBytes how much of its
	// end is kept of them: an operator says some hundred bytes of what it does.
	logLines = 1000
	logBytes = 256 << 10
	// logRead is how much is read of what was asked for: lines may be of any length.
	logRead = 8 << 20
	// logPods are of how many of the operator's pods there are logs.
	logPods = 4
)

// Log is the end of what one container has said, with its name in the bundle.
type Log struct{ Name, Text string }

// Missing is what the bundle goes without, and why.
type Missing struct{ What, Why string }

// Logs are those of the operator's pods, and of the runs before where they were
// started again.
func Logs(ctx context.Context, client *session.Client) (logs []Log, missing []Missing) {
	const what = "the operator's logs"
	pods, err := client.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=understudy,app.kubernetes.io/component=operator", Limit: logPods,
	})
	switch {
	case apierrors.IsForbidden(err):
		return nil, []Missing{{what, "you lack the right to list pods in all namespaces; an administrator adds them: " + byHand}}
	case err != nil:
		return nil, []Missing{{what, err.Error()}}
	case len(pods.Items) == 0:
		return nil, []Missing{{what, "there is no pod of the operator"}}
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		for _, c := range pod.Spec.Containers {
			for _, before := range []bool{false, true} {
				file := fmt.Sprintf("logs/%s-%s.log", pod.Name, c.Name)
				if before {
					file = fmt.Sprintf("logs/%s-%s.before.log", pod.Name, c.Name)
				}
				if before && !restarted(pod, c.Name) {
					continue
				}
				text, err := tail(ctx, client, pod, c.Name, before)
				switch {
				case apierrors.IsForbidden(err):
					return logs, append(missing, Missing{what, fmt.Sprintf("you lack the right to get pods/log in namespace %s; an administrator adds them: %s", pod.Namespace, byHand)})
				case err != nil:
					missing = append(missing, Missing{file, err.Error()})
				default:
					logs = append(logs, Log{file, text})
				}
			}
		}
	}
	return logs, missing
}

// byHand is how somebody who may reads them.
const byHand = "kubectl logs -n NAMESPACE deployment/understudy-operator --tail=1000"

func restarted(pod *corev1.Pod, container string) bool {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container {
			return status.RestartCount > 0
		}
	}
	return false
}

func tail(ctx context.Context, client *session.Client, pod *corev1.Pod, container string, before bool) (string, error) {
	stream, err := client.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Previous: before, TailLines: ptr.To(int64(logLines)), Timestamps: true,
	}).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, io.LimitReader(stream, logRead)); err != nil {
		return "", fmt.Errorf("reading the log: %w", err)
	}
	return text.String(), nil
}

// end is what is kept of a log: whole lines, the last ones.
func end(text string) string {
	if len(text) <= logBytes {
		return text
	}
	text = text[len(text)-logBytes:]
	if _, rest, found := strings.Cut(text, "\n"); found {
		text = rest
	}
	return "(what was before is left out)\n" + text
}
