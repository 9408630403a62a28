package session

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// looks has node and operator act so often that nothing is left to do at this time.
func (f *frozenWorld) looks(r *Reconciler, name string) {
	f.t.Helper()
	for range 10 {
		f.playNode()
		f.must(f.reconcile(r, name))
	}
	f.playNode()
}

func (f *frozenWorld) thawers() (found []corev1.Pod) {
	f.t.Helper()
	for _, pod := range f.agentPods() {
		if nodeagent.OnlyThaws(&pod) {
			found = append(found, pod)
		}
	}
	return found
}

// A node that takes no pod is asked again after a pause that grows, and nothing
// piles up meanwhile: neither rejected pods, nor what is said of them.
func TestNodeTakesNoAgent(t *testing.T) {
	for name, sweeps := range map[string]bool{"a session": false, "a lock whose session is gone": true} {
		t.Run(name, func(t *testing.T) {
			f := newFrozenWorld(newWorld(t))
			f.askFreeze("alice")
			operator := f.freezer(f.WithWatch)
			recorder := events.NewFakeRecorder(1000)
			operator.Events = recorder
			f.driveNode(operator, "alice", "the session is ready", func() bool { return f.isReady("alice") })
			session := f.session("alice")
			lock := nodeagent.LockName(session.Status.Frozen.UID)
			look := func() { f.looks(operator, "alice") }
			if sweeps {
				session.Finalizers = nil
				f.must(f.Update(f.ctx, session))
				look = func() {
					for range 10 {
						f.must(f.sweepLock(operator, lock))
						f.playNode()
					}
				}
			}
			f.dead, f.full = true, true
			f.must(f.Delete(f.ctx, session))

			// The pods' own times are the API server's, which this clock runs away from: as
			// long as each pause is longer than the last that makes no difference.
			const pauses = 7
			last := ""
			for i := 1; i <= pauses; i++ {
				look()
				pods := f.thawers()
				if len(pods) == 0 || len(pods) > 2 {
					t.Fatalf("after %d there are %d pods", i, len(pods))
				}
				newest := pods[0]
				for _, pod := range pods {
					if nodeagent.Number(&pod) > nodeagent.Number(&newest) {
						newest = pod
					}
				}
				if newest.Name == last || int(nodeagent.Number(&newest)) != i+1 {
					t.Fatalf("after %d the last is %s, before it was %q", i, newest.Name, last)
				}
				last = newest.Name
				if !sweeps {
					c := f.conditionOf("alice", v1alpha1.ConditionRestored)
					if !strings.Contains(c.Message, "OutOfpods: Pod was rejected: no room for one more") || !strings.Contains(c.Message, fmt.Sprintf("%d so far", i)) {
						t.Errorf("the condition says %q", c.Message)
					}
				}
				next := newest.CreationTimestamp.Add(nodeagent.Retry(i))
				f.clock = next.Add(-time.Millisecond)
				look()
				for _, pod := range f.thawers() {
					if nodeagent.Number(&pod) > nodeagent.Number(&newest) {
						t.Fatalf("%s was made before its time", pod.Name)
					}
				}
				f.clock = next
			}
			if !sweeps {
				if said := said(recorder, "ThawDelayed"); len(said) != pauses || !strings.Contains(said[0], "no room for one more") {
					t.Errorf("there are %d events: %q", len(said), said)
				}
			}
			f.full = false
			if sweeps {
				f.until("it is thawed", func() bool { look(); return len(f.leftOnNode()) == 0 })
			} else {
				f.driveNode(operator, "alice", "the session is gone", func() bool { return f.session("alice") == nil })
			}
			f.checkThawed()
		})
	}
}

// said are the events of a reason on the session itself, in their order.
func said(recorder *events.FakeRecorder, reason string) (found []string) {
	for {
		select {
		case event := <-recorder.Events:
			if strings.Contains(event, " "+reason+" ") && !strings.Contains(event, "Session ") {
				found = append(found, event)
			}
		default:
			return found
		}
	}
}

// unimportant is an API server that lets no pod be critical.
type unimportant struct {
	client.WithWatch
	refused int
}

func (u *unimportant) Create(ctx context.Context, object client.Object, opts ...client.CreateOption) error {
	if pod, ok := object.(*corev1.Pod); ok && pod.Spec.PriorityClassName != "" {
		u.refused++
		return apierrors.NewForbidden(corev1.Resource("pods"), pod.Name, fmt.Errorf("insufficient quota to match these scopes: [{PriorityClass In [%s]}]", pod.Spec.PriorityClassName))
	}
	return u.WithWatch.Create(ctx, object, opts...)
}

// Agents that thaw are critical where that is allowed, and are made where it is not.
// For those that freeze no kubelet is to end a pod, which may be the target itself.
func TestAgentsPriority(t *testing.T) {
	for name, allowed := range map[string]bool{"allowed": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			f := newFrozenWorld(newWorld(t))
			f.askFreeze("alice")
			refusing := &unimportant{WithWatch: f.WithWatch}
			operator := f.freezer(refusing)
			want := ""
			if allowed {
				operator.Writer, want = f.WithWatch, "system-node-critical"
			}
			operator.Agent.PriorityClass = "system-node-critical"
			f.driveNode(operator, "alice", "the session is ready", func() bool { return f.isReady("alice") })
			f.dead = true
			f.must(f.Delete(f.ctx, f.session("alice")))
			f.driveNode(operator, "alice", "one that thaws is made", func() bool { return len(f.thawers()) > 0 })
			for _, pod := range f.agentPods() {
				class := want
				if !nodeagent.OnlyThaws(&pod) {
					class = ""
				}
				if pod.Spec.PriorityClassName != class {
					t.Errorf("%s has priority class %q, want %q", pod.Name, pod.Spec.PriorityClassName, class)
				}
			}
			if !allowed && refusing.refused != 1 {
				t.Errorf("it was refused %d times", refusing.refused)
			}
			f.driveNode(operator, "alice", "the session is gone", func() bool { return f.session("alice") == nil })
			f.checkThawed()
		})
	}
}
