package solo

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// MayStop fails unless the user may end that freeze: delete its agent's pod.
func MayStop(ctx context.Context, client *session.Client, s *v1alpha1.Session) error {
	allowed, err := client.Allowed(ctx, "delete", s.Namespace, "", "pods", s.Name)
	switch {
	case err != nil:
		return err
	case !allowed:
		return failure.New(fmt.Sprintf("its owner ends it, or an administrator: kubectl delete pod %s -n %s", s.Name, s.Namespace),
			"you lack the right to delete pod %s in namespace %s, which is the agent that keeps it frozen", s.Name, s.Namespace)
	}
	return nil
}

// Stop ends a freeze of which only the agent's pod is known, and waits for the proof
// that the agent has thawed, which it returns. It does what the kubelet and the agent
// do with any pod that is deleted: where its owner's machine lives, that ends its
// command and looks itself, and is told that it was by whom.
func Stop(ctx context.Context, client *session.Client, s *v1alpha1.Session, by v1alpha1.Owner, waits func(string)) (proof string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, endPatience, session.ErrNoNews)
	defer cancel()
	pods := client.Steady().CoreV1().Pods(s.Namespace)
	last, err := pods.Get(ctx, s.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading the agent's pod: %w", err)
	}
	if err != nil || last.UID != s.UID {
		return "", failure.New("see: understudy sessions", "session %s has ended by itself in this moment", s.Name)
	}
	if patch, err := session.FarewellPatch(by); err == nil {
		// A courtesy: who may delete a pod may not always write one.
		_, _ = pods.Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "understudy"})
	}
	err = pods.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return "", fmt.Errorf("deleting the agent's pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	target := &corev1.Pod{}
	target.Namespace, target.Name, target.UID = nodeagent.SoloTarget(last)
	follow := &Session{plan: &Plan{client: client, pod: target}, agent: last, follow: session.Local(s.DeepCopy()), ending: true}
	following, stop := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() { defer close(followed); follow.watch(following) }()
	defer func() { stop(); <-followed }()
	for {
		_, changed := follow.follow.State()
		agent, gone := follow.last()
		if _, proved, message := nodeagent.Ended(agent); proved {
			follow.clear(ctx)
			return message, nil
		}
		if gone && follow.waited() && neverRan(agent) {
			return "its agent never ran", nil
		}
		if gone {
			return "", unproved(agent)
		}
		waits("the agent on node " + agent.Spec.NodeName + " to end")
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// unproved is the error of an agent that went without a word.
func unproved(agent *corev1.Pod) error {
	namespace, name, _ := nodeagent.SoloTarget(agent)
	if name == "" {
		return errors.New("its agent is gone, and has not said that the container is thawed")
	}
	return failure.New(fmt.Sprintf("where the pod stands still: understudy thaw --pod %s -n %s", name, namespace),
		"its agent is gone, and has not said that pod %s is thawed", name)
}
