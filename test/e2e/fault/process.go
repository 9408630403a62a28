// Package fault breaks the cluster under a session: it kills a container's
// process where it runs, and stops the API server.
package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/cluster"
)

// ErrElsewhere is returned where the cluster's processes do not run on this
// machine, so that they cannot be killed from here.
var ErrElsewhere = errors.New("the cluster runs elsewhere")

// KillOperator sends SIGKILL to the processes of every running operator, on the
// node, without a word to Kubernetes. It returns how many it killed; between
// two lives of an operator there is none.
func KillOperator(ctx context.Context, c *cluster.Cluster) (int, error) {
	if !c.Own {
		return 0, ErrElsewhere
	}
	pods, err := c.Client.CoreV1().Pods(cluster.OperatorNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=understudy,app.kubernetes.io/component=operator",
	})
	if err != nil {
		return 0, fmt.Errorf("looking for the operator: %w", err)
	}
	killed := 0
	for _, pod := range pods.Items {
		n, err := KillPod(&pod)
		if err != nil {
			return killed, err
		}
		killed += n
	}
	return killed, nil
}

// KillPod sends SIGKILL to the processes of every container of a pod, and returns
// how many it killed.
func KillPod(pod *core.Pod) (int, error) {
	killed := 0
	for _, status := range pod.Status.ContainerStatuses {
		_, id, _ := strings.Cut(status.ContainerID, "://")
		if status.State.Running == nil || id == "" {
			continue
		}
		for _, pid := range processes(id) {
			err := syscall.Kill(pid, syscall.SIGKILL)
			if err == nil {
				killed++
			} else if !errors.Is(err, syscall.ESRCH) {
				return killed, fmt.Errorf("killing process %d of pod %s: %w", pid, pod.Name, err)
			}
		}
	}
	return killed, nil
}

// processes finds the processes of a container by its ID: the last part of
// their cgroup's path.
func processes(container string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil
	}
	var found []int
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		for line := range strings.Lines(string(data)) {
			if filepath.Base(strings.TrimSpace(line)) != container {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				found = append(found, pid)
			}
			break
		}
	}
	return found
}
