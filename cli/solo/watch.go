package solo

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

const (
	// watchFor is how long one watch lasts, so that one whose connection died
	// silently is not trusted for longer.
	watchFor = 20 * time.Second
	// readFor is how long one read may take.
	readFor = 5 * time.Second
	// askEvery is how often the events of an agent are read that does not run yet.
	askEvery = time.Second
	// retryMost is the longest pause after reads that failed.
	retryMost = 2 * time.Second
	// shortMost is how many watches in a row may be shorter than that without a pause.
	shortMost = 3
)

var errGone = errors.New("the agent's pod is gone")

// watch follows the agent's pod.
func (s *Session) watch(ctx context.Context) {
	wait, short := 100*time.Millisecond, 0
	for ctx.Err() == nil {
		began := time.Now()
		err := s.look(ctx)
		switch {
		case errors.Is(err, errGone):
			s.away()
			return
		case err == nil:
			// A server that has forgotten the version ends each watch at once.
			if short++; time.Since(began) > retryMost {
				short = 0
			}
			if wait = 100 * time.Millisecond; short < shortMost {
				continue
			}
			wait = retryMost
		case ctx.Err() != nil:
			return
		}
		s.follow.Tell(func(state *session.State) { state.Unreachable = err })
		if state, _ := s.follow.State(); err != nil && !state.Is(v1alpha1.ConditionFrozen) && time.Now().After(s.deadline) {
			s.over(failure.New("the agent thaws by itself when its lease has run out", "it was not heard in time whether the container is frozen: %v", err))
		}
		select {
		case <-ctx.Done():
		case <-s.follow.Asked():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// look reads the pod once and then watches it for a while. An agent that does not
// run yet is read again and again, with its events, in which the kubelet says why.
func (s *Session) look(ctx context.Context) error {
	was, _ := s.last()
	pods := s.plan.client.Steady().CoreV1().Pods(was.Namespace)
	reading, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	pod, err := pods.Get(reading, was.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && pod.UID != was.UID:
		return errGone
	case err != nil:
		return fmt.Errorf("reading the agent's pod: %w", err)
	}
	s.see(pod, s.events(reading, pod))

	watching, cancel := context.WithTimeout(ctx, watchFor+readFor)
	defer cancel()
	seconds := int64(watchFor / time.Second)
	watcher, err := pods.Watch(watching, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", pod.Name).String(), ResourceVersion: pod.ResourceVersion, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return fmt.Errorf("watching the agent's pod: %w", err)
	}
	defer watcher.Stop()
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for {
		select {
		case event, open := <-watcher.ResultChan():
			seen, ours := event.Object.(*corev1.Pod)
			switch {
			case !open, event.Type == watch.Error:
				return nil // mostly a version that the server has forgotten: read anew
			case !ours || seen.UID != pod.UID:
			default:
				pod = seen
				s.see(pod, nil)
				if event.Type == watch.Deleted {
					return errGone
				}
			}
		case <-ask.C:
			if !nodeagent.Ready(pod) {
				s.see(pod, s.events(ctx, pod))
			}
		case <-s.follow.Asked():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// events about a pod that does not run yet; none where they may not be read.
func (s *Session) events(ctx context.Context, pod *corev1.Pod) []corev1.Event {
	if status := nodeagent.Status(pod, nodeagent.AgentContainer); status != nil && (status.State.Running != nil || status.State.Terminated != nil) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	found, err := s.plan.client.Steady().CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(pod.UID)).String(),
	})
	if err != nil {
		return nil
	}
	return found.Items
}
