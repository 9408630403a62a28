package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/tunnel"
)

// leftOnNode names what is still there in the agents' namespace.
func (f *frozenWorld) leftOnNode() []string {
	f.t.Helper()
	var found []string
	in := client.InNamespace(f.agents)
	var pods corev1.PodList
	var secrets corev1.SecretList
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	var leases coordinationv1.LeaseList
	f.must(errors.Join(f.List(f.ctx, &pods, in), f.List(f.ctx, &secrets, in), f.List(f.ctx, &roles, in), f.List(f.ctx, &bindings, in), f.List(f.ctx, &leases, in)))
	for _, o := range pods.Items {
		found = append(found, "pod "+o.Name)
	}
	for _, o := range secrets.Items {
		found = append(found, "secret "+o.Name)
	}
	for _, o := range roles.Items {
		found = append(found, "role "+o.Name)
	}
	for _, o := range bindings.Items {
		found = append(found, "rolebinding "+o.Name)
	}
	for _, o := range leases.Items {
		found = append(found, "lease "+o.Name)
	}
	return found
}

// checkThawed is what must hold after each session.
func (f *frozenWorld) checkThawed() {
	f.t.Helper()
	if f.frozen {
		f.t.Error("the container is frozen still")
	}
	f.playNode()
	if left := f.leftOnNode(); len(left) > 0 {
		f.t.Errorf("left in the agents' namespace: %q", left)
	}
}

func TestSessionFreezesAndThaws(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	before := f.target()
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.mute = true
	f.driveNode(operator, "alice", "the agent runs", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionFrozen).Reason == v1alpha1.ReasonNodeAgentPending
	})
	if f.isReady("alice") {
		t.Fatal("ready before the agent said that it froze")
	}
	f.mute = false
	for _, pod := range f.agentPods() {
		f.frozen = true
		f.setAgent(&pod, corev1.PodRunning, corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
	}
	f.driveNode(operator, "alice", "the session is ready", func() bool { return f.isReady("alice") })
	session := f.session("alice")
	if s := session.Status; s.Frozen == nil || s.Frozen.FrozenAt == nil || s.Frozen.NodeName != testNode || s.Agent.Namespace != f.agents || s.Agent.PodUID == "" {
		t.Errorf("the status is %+v, agent %+v", s.Frozen, s.Agent)
	}
	f.checkGranted(session)
	f.checkTold(session)

	f.must(f.Delete(f.ctx, session))
	f.driveNode(operator, "alice", "the session is gone", func() bool { return f.session("alice") == nil })
	f.checkThawed()
	if after := f.target(); after.ResourceVersion != before.ResourceVersion {
		t.Error("the pod was written to")
	}
}

// checkTold reads what the agent was told as the agent does.
func (f *frozenWorld) checkTold(s *v1alpha1.Session) {
	f.t.Helper()
	secret := &corev1.Secret{}
	f.must(f.Get(f.ctx, client.ObjectKey{Namespace: f.agents, Name: nodeagent.SecretName(s.UID, 1)}, secret))
	dir := f.t.TempDir()
	for name, content := range secret.Data {
		f.must(os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	config, key, err := settings.Load(dir)
	f.must(err)
	print, err := tunnel.KeyFingerprint(key.Public())
	f.must(err)
	if print != s.Status.Agent.CertificateFingerprint {
		f.t.Errorf("the key's fingerprint is %s, and the status says %s", print, s.Status.Agent.CertificateFingerprint)
	}
	want := &settings.Freeze{Pod: f.namespace + "/worker", PodUID: string(f.target().UID), Container: "worker", ContainerID: "0123456789abcdef", Owner: s.Spec.Owner.Username, GraceSeconds: 30, Release: true}
	if diff := cmp.Diff(want, config.Freeze); diff != "" || config.Session != string(s.UID) || config.LeaseSeconds != 60 {
		f.t.Errorf("the agent is told %+v; to freeze (-want +got):\n%s", config, diff)
	}
}

// checkGranted looks at what the owner was given: their Lease, and the way to
// one pod.
func (f *frozenWorld) checkGranted(s *v1alpha1.Session) {
	f.t.Helper()
	role := &rbacv1.Role{}
	f.must(f.Get(f.ctx, client.ObjectKey{Namespace: f.agents, Name: nodeagent.Name(s.UID)}, role))
	if len(role.Rules) != 1 || role.Rules[0].Resources[0] != "pods/portforward" || len(role.Rules[0].ResourceNames) != 1 || role.Rules[0].ResourceNames[0] != s.Status.Agent.PodName {
		f.t.Errorf("granted in the agents' namespace: %+v", role.Rules)
	}
	f.must(f.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: grantName(s.Name)}, role))
	if len(role.Rules) != 1 || role.Rules[0].Resources[0] != "leases" {
		f.t.Errorf("granted in the session's namespace: %+v", role.Rules)
	}
}

// Whatever becomes of the agent, of the target or of the owner, the session
// ends with that reason, and the pod is thawed, by proof.
func TestFrozenSessionsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		during func(*frozenWorld)
		reason string
		// mute: it never comes to be frozen.
		mute bool
	}{
		"the agent is killed and started again": {reason: v1alpha1.ReasonNodeAgentLost, during: func(f *frozenWorld) {
			pod := f.agentPods()[0]
			f.frozen = false // by its guard
			f.setAgent(&pod, corev1.PodRunning, corev1.ContainerStatus{RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
		}},
		"the agent and its guard are killed": {reason: v1alpha1.ReasonNodeAgentLost, during: func(f *frozenWorld) {
			pod := f.agentPods()[0]
			f.dead = true
			f.endAgent(&pod, 137, "")
		}},
		"the agent's pod is deleted": {reason: v1alpha1.ReasonNodeAgentLost, during: func(f *frozenWorld) {
			f.must(f.Delete(f.ctx, &f.agentPods()[0]))
		}},
		"the agent's pod is gone by force": {reason: v1alpha1.ReasonNodeAgentLost, during: func(f *frozenWorld) {
			pod := f.agentPods()[0]
			pod.Finalizers = nil
			f.must(f.Update(f.ctx, &pod))
			f.must(f.Delete(f.ctx, &pod, client.GracePeriodSeconds(0)))
		}},
		"the pod is deleted": {reason: v1alpha1.ReasonTargetEnded, during: func(f *frozenWorld) { f.must(f.Delete(f.ctx, f.target())) }},
		"the pod is gone": {reason: v1alpha1.ReasonTargetEnded, during: func(f *frozenWorld) {
			f.must(f.Delete(f.ctx, f.target(), client.GracePeriodSeconds(0)))
		}},
		"the agent says that it cannot": {mute: true, reason: v1alpha1.ReasonFreezeFailed, during: func(f *frozenWorld) {
			pod := f.agentPods()[0]
			f.endAgent(&pod, 1, "there is no freezer")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFrozenWorld(newWorld(t))
			f.mute = test.mute
			f.askFreeze("alice")
			operator := f.freezer(f.WithWatch)
			f.driveNode(operator, "alice", "the agent is there", func() bool {
				return f.isReady("alice") || test.mute && len(f.agentPods()) > 0 && f.agentPods()[0].Status.Phase == corev1.PodRunning
			})
			test.during(f)
			f.driveNode(operator, "alice", "it is put back", func() bool {
				return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
			})
			if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != test.reason {
				t.Errorf("it ended with %s: %s", ready.Reason, ready.Message)
			}
			f.checkThawed()
		})
	}
}

// Of two sessions that freeze one pod the second is told who has it, and
// touches nothing of the first.
func TestOneSessionFreezesAPod(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "the first is ready", func() bool { return f.isReady("alice") })
	f.askFreeze("bob")
	f.driveNode(operator, "bob", "the second has ended", func() bool {
		return f.conditionOf("bob", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
	})
	ready := f.conditionOf("bob", v1alpha1.ConditionReady)
	if ready.Reason != v1alpha1.ReasonHeldByAnother || !strings.Contains(ready.Message, "alice@example.com") {
		t.Errorf("the second is told %s: %s", ready.Reason, ready.Message)
	}
	if !f.frozen || f.froze != 1 || len(f.agentPods()) != 1 {
		t.Errorf("frozen %v, %d times, by %d agents", f.frozen, f.froze, len(f.agentPods()))
	}
	f.must(f.Delete(f.ctx, f.session("alice")))
	f.driveNode(operator, "alice", "the first is gone", func() bool { return f.session("alice") == nil })
	f.checkThawed()
}

// A Session whose finalizer was forced off leaves the lock, from which the pod
// is thawed; until then nobody else has it.
func TestThawedWithoutItsSession(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	session, lockName := f.session("alice"), nodeagent.LockName(f.target().UID)
	f.must(f.sweepLock(operator, lockName))
	f.playNode()
	if !f.frozen {
		t.Fatal("the sweep thawed what a living session has frozen")
	}
	session.Finalizers = nil
	f.must(f.Update(f.ctx, session))
	f.must(f.Delete(f.ctx, session))
	f.askFreeze("bob")
	f.must(f.reconcile(operator, "bob"))
	if waits := f.conditionOf("bob", v1alpha1.ConditionReady); waits.Reason != v1alpha1.ReasonThawing || f.session("bob").Status.Agent != nil {
		t.Errorf("the next session is told %s: %s", waits.Reason, waits.Message)
	}
	f.until("the sweep is done", func() bool {
		f.playNode()
		f.must(f.sweepLock(operator, lockName))
		return f.Get(f.ctx, client.ObjectKey{Namespace: f.agents, Name: lockName}, &coordinationv1.Lease{}) != nil
	})
	f.checkThawed()
}

// A static pod is thawed by what its node calls it, which the lock remembers when
// neither the Session nor the pod's mirror is there to tell.
func TestStaticPodIsThawed(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef"
	f := newFrozenWorld(newWorld(t), func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: hash} })
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	session, lockName := f.session("alice"), nodeagent.LockName(f.target().UID)
	f.dead = true // so that another agent has to thaw
	session.Finalizers = nil
	f.must(f.Update(f.ctx, session))
	f.must(f.Delete(f.ctx, session))
	f.must(f.Delete(f.ctx, f.target(), client.GracePeriodSeconds(0)))
	asked := ""
	f.until("an agent thaws", func() bool {
		f.must(f.sweepLock(operator, lockName))
		for _, pod := range f.thawers() {
			asked = strings.Join(pod.Spec.Containers[0].Command, " ")
		}
		f.playNode()
		return asked != ""
	})
	if !strings.HasSuffix(asked, "--pod="+hash) {
		t.Errorf("it is asked to %s", asked)
	}
}

// What cannot be frozen is said before anything is made.
func TestNotFrozen(t *testing.T) {
	f := newFrozenWorld(newWorld(t))
	off := f.freezer(f.WithWatch)
	off.AgentsNamespace = ""
	session := f.askFreeze("alice")
	f.must(f.reconcile(off, "alice"))
	if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonFreezeUnsupported || !strings.Contains(ready.Message, "freeze.enabled") {
		t.Errorf("where nothing is frozen it says %s: %s", ready.Reason, ready.Message)
	}
	if fresh := f.session("alice"); len(fresh.Finalizers) > 0 || fresh.Status.Frozen != nil {
		t.Errorf("something was begun: %v, %v", fresh.Finalizers, fresh.Status.Frozen)
	}
	wrong := session.DeepCopy()
	wrong.ObjectMeta = metav1.ObjectMeta{Namespace: f.namespace, Name: "bob"}
	wrong.Spec.Target.Resource, wrong.Spec.Target.Group = "deployments", "apps"
	if err := f.Create(f.ctx, wrong); err == nil || !strings.Contains(err.Error(), "only a pod can be frozen") {
		t.Errorf("a deployment's session to freeze is answered with %v", err)
	}
}

// A pod that would not live through it, or whose network is the node's, is refused
// before anything is made: nothing of a session is in the agents' namespace.
func TestRefusedBeforeAnythingIsFrozen(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"an exec probe for liveness": {says: "runs a command in it", change: func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
		}},
		"the node's network": {says: "hostNetwork", change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFrozenWorld(newWorld(t), test.change)
			f.askFreeze("alice")
			f.must(f.reconcile(f.freezer(f.WithWatch), "alice"))
			ready := f.conditionOf("alice", v1alpha1.ConditionReady)
			if ready.Reason != v1alpha1.ReasonFreezeUnsupported || !strings.Contains(ready.Message, test.says) {
				t.Errorf("it says %s: %s", ready.Reason, ready.Message)
			}
			if s := f.session("alice"); len(s.Finalizers) > 0 || s.Status.Frozen != nil || f.froze > 0 {
				t.Errorf("something was begun: %v, %v", s.Finalizers, s.Status.Frozen)
			}
			f.checkThawed()
		})
	}
}

// Where the node says in which hierarchy its containers are frozen the agent is told
// so, and what it says wrongly is not guessed at.
func TestFreezerOfTheNode(t *testing.T) {
	for said, want := range map[string]string{"v1": "v1", "v2": "v2", "": "", "v3": "refused"} {
		t.Run(said, func(t *testing.T) {
			w := newWorld(t)
			w.node = "node-that-says-" + said + "x"
			w.readyNode(w.node)
			f := newFrozenWorld(w)
			if said != "" {
				node := &corev1.Node{}
				f.must(f.Get(f.ctx, client.ObjectKey{Name: w.node}, node))
				node.Annotations = map[string]string{v1alpha1.FreezerAnnotation: said}
				f.must(f.Update(f.ctx, node))
			}
			f.askFreeze("alice")
			operator := f.freezer(f.WithWatch)
			f.driveNode(operator, "alice", "it is ready, or refused", func() bool {
				return f.isReady("alice") || f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
			})
			if want == "refused" {
				if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonFreezeFailed || !strings.Contains(ready.Message, `"v3"`) {
					t.Errorf("it says %s: %s", ready.Reason, ready.Message)
				}
				f.checkThawed()
				return
			}
			secret := &corev1.Secret{}
			f.must(f.Get(f.ctx, client.ObjectKey{Namespace: f.agents, Name: nodeagent.SecretName(f.session("alice").UID, 1)}, secret))
			var config settings.Config
			f.must(json.Unmarshal(secret.Data[settings.ConfigFile], &config))
			if config.Freeze.Freezer != want {
				t.Errorf("the agent is told %q", config.Freeze.Freezer)
			}
		})
	}
}

// The operator is killed at every write of a session that freezes, before and
// after it, and another one goes on: the pod is thawed at the end, was frozen
// once, and nothing is left.
func TestFreezerKilledAtEveryWrite(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("answer lost %v", after), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for at := 1; ; at++ {
				f := newFrozenWorld(w)
				cut := &cutter{at: at, after: after}
				f.askFreeze("alice")
				play := func(holds func() bool) {
					operator := f.freezer(cut.over(f.WithWatch))
					f.until(fmt.Sprintf("it went on after %q", cut.killed), func() bool {
						f.playNode()
						err := f.reconcile(operator, "alice")
						if cut.dead {
							cut.revive()
							operator = f.freezer(cut.over(f.WithWatch))
						} else if err != nil {
							t.Fatalf("reconciling: %v", err)
						}
						return holds()
					})
				}
				play(func() bool { return f.isReady("alice") })
				if !f.frozen {
					t.Fatalf("ready and not frozen, killed at %q", cut.killed)
				}
				f.must(f.Delete(f.ctx, f.session("alice")))
				play(func() bool { return f.session("alice") == nil })
				f.checkThawed()
				if f.froze != 1 {
					t.Errorf("frozen %d times, killed at %q", f.froze, cut.killed)
				}
				f.must(f.Delete(f.ctx, f.target(), client.GracePeriodSeconds(0)))
				if len(cut.killed) == 0 {
					if at < 15 {
						t.Errorf("a session has %d writes only", at)
					}
					return
				}
			}
		})
	}
}
