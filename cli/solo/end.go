package solo

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/pending"
)

const (
	// leaveAfter is how long somebody who leaves at once is kept waiting for the
	// deletion to be sent: without it the agent would wait for the lease.
	leaveAfter = time.Second
	// endPatience is how long a thaw is waited for that nothing is heard of.
	endPatience = 2 * time.Minute
)

// End ends the agent, which thaws, and waits for the proof that it has: an end with
// code 0. Where it went without, another one is made that does nothing else. It
// tries until ctx is done, or for two minutes (session.ErrNoNews); waits is told what
// it waits for meanwhile. Nothing of the session is left when there is no error.
func (s *Session) End(ctx context.Context, waits func(string)) (session.State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, endPatience, session.ErrNoNews)
	defer cancel()
	s.begin()
	proof, err := s.thaw(ctx, waits)
	if err != nil {
		state, _ := s.follow.State()
		return state, err
	}
	s.clear(ctx)
	s.follow.Tell(func(state *session.State) {
		state.Gone = true
		conditions := &state.Session.Status.Conditions
		message := fmt.Sprintf("The container runs on where it stood: %s.", proof)
		meta.SetStatusCondition(conditions, metav1.Condition{Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonThawed, Message: message})
		meta.SetStatusCondition(conditions, metav1.Condition{Type: v1alpha1.ConditionRestored, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonThawed, Message: message})
	})
	state, _ := s.follow.State()
	return state, nil
}

// thaw brings the proof about.
func (s *Session) thaw(ctx context.Context, waits func(string)) (proof string, err error) {
	for {
		if _, gone := s.last(); gone {
			break
		}
		err := s.delete(ctx)
		if err == nil {
			break
		}
		waits(err.Error())
		if paused := pause(ctx); paused != nil {
			return "", fmt.Errorf("%w: %w", paused, err)
		}
	}
	for {
		state, changed := s.follow.State()
		agent, gone := s.last()
		if _, proved, message := nodeagent.Ended(agent); proved {
			return message, nil
		}
		if gone && s.waited() && neverRan(agent) {
			return "its agent never ran", nil
		}
		if gone {
			return s.another(ctx, waits)
		}
		waits("the agent on node " + agent.Spec.NodeName + " to end")
		if state.Unreachable != nil {
			waits(fmt.Sprintf("the API server cannot be reached (%v)", state.Unreachable))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// neverRan says of a pod that was deleted whether its container was never started:
// the kubelet lets a pod go only after it has said how its containers ended. That
// does not hold of one deleted by force, of which the last word may be an old one.
func neverRan(agent *corev1.Pod) bool {
	status := nodeagent.Status(agent, nodeagent.AgentContainer)
	return !agent.DeletionTimestamp.IsZero() && status != nil && status.State.Waiting != nil && status.RestartCount == 0 && status.LastTerminationState.Terminated == nil
}

// delete asks for the agent's end. It is sent even to somebody who leaves.
func (s *Session) delete(ctx context.Context) error {
	agent, _ := s.last()
	hurry := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readFor)
	defer cancel()
	stop := context.AfterFunc(hurry, func() { time.AfterFunc(leaveAfter, cancel) })
	defer stop()
	answers := make(chan error, 1)
	go func() { // a credential plugin that waits for its user does not heed ctx
		answers <- s.plan.client.Steady().CoreV1().Pods(agent.Namespace).Delete(ctx, agent.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(agent.UID))})
	}()
	var err error
	select {
	case err = <-answers:
	case <-ctx.Done():
		err = ctx.Err()
	}
	// A conflict is a pod of the same name and another UID.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("ending the agent %s: %w", agent.Name, err)
}

// another makes an agent that only thaws, and waits for what that one has seen. What
// one of another session has seen was before this one froze: it is deleted. So is one
// that its node did not let run, and the next is made after a pause that grows.
func (s *Session) another(ctx context.Context, waits func(string)) (proof string, err error) {
	wanted := nodeagent.SoloThaw(s.plan.solo())
	pods := s.plan.client.Steady().CoreV1().Pods(wanted.Namespace)
	remove := func(ctx context.Context, agent *corev1.Pod) error {
		err := pods.Delete(ctx, agent.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(agent.UID))})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	}
	var ours *corev1.Pod
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveAfter)
		defer cancel()
		if err == nil {
			_ = remove(ctx, ours) // the next one clears it away
		}
	}()
	spent := map[types.UID]bool{} // those that its node did not let run
	var why string                // what was said of the last of them
	var next time.Time
	for {
		agent, err := pods.Get(ctx, wanted.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) && !time.Now().Before(next) {
			agent, err = create(ctx, wanted, pods.Create)
		}
		if err == nil && agent.Labels[v1alpha1.SessionUIDLabel] == string(s.plan.uid) && nodeagent.Spent(agent) && !spent[agent.UID] {
			spent[agent.UID] = true
			why = strings.TrimSuffix(pending.Reason(agent, nil), ".")
			next = time.Now().Add(nodeagent.Retry(len(spent)))
		}
		var waiting string
		switch {
		case err == nil && spent[agent.UID] && agent.DeletionTimestamp.IsZero():
			err = remove(ctx, agent)
			waiting = rejected(wanted.Spec.NodeName, why, len(spent), err)
		case len(spent) > 0 && (apierrors.IsNotFound(err) || err == nil && spent[agent.UID]):
			waiting = rejected(wanted.Spec.NodeName, why, len(spent), nil)
		case err != nil:
			waiting = fmt.Sprintf("an agent that thaws, as the one before could not be asked (%v)", err)
		case agent.Labels[v1alpha1.SessionUIDLabel] != string(s.plan.uid):
			waiting = "the agent " + agent.Name + " of a session before to go"
			if agent.DeletionTimestamp.IsZero() {
				if err := remove(ctx, agent); err != nil {
					waiting += fmt.Sprintf(" (%v)", err)
				}
			}
		default:
			ours = agent
			if _, proved, message := nodeagent.Ended(agent); proved {
				return message, nil
			}
			waiting = "an agent on node " + agent.Spec.NodeName + " that thaws, as the one before could not be asked: " + pending.Reason(agent, s.events(ctx, agent))
		}
		waits(waiting)
		if err := pause(ctx); err != nil {
			return "", err
		}
	}
}

// rejected says what is waited for where a node did not let an agent run.
func rejected(node, why string, times int, err error) string {
	waiting := fmt.Sprintf("node %s to let an agent run that thaws (%s; %d so far)", node, why, times)
	if err != nil {
		waiting += fmt.Sprintf("; taking the last one away: %v", err)
	}
	return waiting
}

// clear takes away what is left, and waits a moment to see it gone. What it cannot
// take away has an owner, with which it goes.
func (s *Session) clear(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	agent, _ := s.last()
	_ = s.plan.client.Steady().CoreV1().Secrets(agent.Namespace).Delete(ctx, agent.Name, metav1.DeleteOptions{})
	for {
		_, changed := s.follow.State()
		if _, gone := s.last(); gone {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
