package session

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// alone are workloads beside whose pods no other pod of the same kind can run.
var alone = map[string]func(*world, *appsv1.Deployment){
	"a volume for one pod":  claimVolume(corev1.ReadWriteOncePod),
	"a volume for one node": claimVolume(corev1.ReadWriteOnce),
	"a port of the node": func(_ *world, d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 8080, Protocol: corev1.ProtocolTCP}}
	},
	"pods that refuse each other": func(_ *world, d *appsv1.Deployment) {
		d.Spec.Template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "kubernetes.io/hostname", LabelSelector: d.Spec.Selector}},
		}}
	},
}

func claimVolume(mode corev1.PersistentVolumeAccessMode) func(*world, *appsv1.Deployment) {
	return func(w *world, d *appsv1.Deployment) {
		w.must(w.Create(w.ctx, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "data"},
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{mode},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}))
		spec := &d.Spec.Template.Spec
		spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}
}

// deployAlone makes a workload of two pods of which each wants to be alone. Where
// they run is not the scheduler's choice here.
func (w *world) deployAlone(change func(*world, *appsv1.Deployment)) *appsv1.Deployment {
	w.t.Helper()
	d := deployment(w.namespace, "worker")
	d.Spec.Replicas = ptr.To(int32(2))
	change(w, d)
	w.must(w.apply(d, "team"))
	w.until("the pods run", func() bool {
		w.play()
		return w.running("worker") == 2 && w.deployment("worker").Status.ObservedGeneration == w.deployment("worker").Generation
	})
	return w.deployment("worker")
}

func (w *world) standInPods() []corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.SessionLabel}))
	return pods.Items
}

// What cannot run side by side is held first, and nothing of a stand-in is made
// before the last old pod has ended.
func TestHeldBeforeStandIn(t *testing.T) {
	for name, change := range alone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.deployAlone(change)
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			w.until("the stand-in is made", func() bool {
				w.must(w.reconcile(operator, "alice"))
				made := len(w.standInPods()) > 0
				if made && w.running("worker") > 0 {
					t.Fatal("made beside the old pods")
				}
				if made {
					return true
				}
				w.play()
				return false
			})
			w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
			if session := w.session("alice"); session.Status.Record.Replicas != 2 {
				t.Errorf("recorded %+v", session.Status.Record)
			}
			w.checkPromises("worker", "alice")

			// Lost and made again under the hold.
			w.must(w.Delete(w.ctx, w.stand("alice")))
			w.drive(operator, "alice", "ready again", func() bool { return w.session("alice").Status.Agent.Incarnation == 2 && w.isReady("alice") })

			w.end(operator, "alice")
			w.until("the pods are back", func() bool { w.play(); return w.running("worker") == 2 })
			w.checkSame(before, w.deployment("worker"))
			if left := w.leftovers("worker"); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

// A stand-in that cannot run after all, or is refused once the workload is held,
// is rolled back to what was.
func TestHeldBeforeStandInRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		spoil  func(*world, *Reconciler)
	}{
		"it never starts": {v1alpha1.ReasonSetupDeadlineExceeded, func(w *world, r *Reconciler) {
			w.noStart = true
			w.drive(r, "alice", "it waits for the stand-in", func() bool {
				return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonStandInPending
			})
			// Counted from the hold, and with the old pods' grace period.
			w.clock = w.clock.Add(v1alpha1.DefaultSetupDuration - time.Second)
			w.must(w.reconcile(r, "alice"))
			if c := w.conditionOf("alice", v1alpha1.ConditionReady); c.Reason != v1alpha1.ReasonStandInPending {
				w.t.Errorf("ended before its time: %s: %s", c.Reason, c.Message)
			}
			w.clock = w.clock.Add(time.Minute)
			w.must(w.reconcile(r, "alice"))
			w.noStart = false
		}},
		"it is refused": {v1alpha1.ReasonStandInRefused, func(w *world, r *Reconciler) {
			w.drive(r, "alice", "it is held", func() bool { return w.session("alice").Status.HeldAt != nil })
			w.until("the old pods have ended", func() bool { w.play(); return w.running("worker") == 0 })
			ns := &corev1.Namespace{}
			w.must(w.Get(w.ctx, client.ObjectKey{Name: w.namespace}, ns))
			ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
			w.must(w.Update(w.ctx, ns))
			w.until("it is refused", func() bool {
				w.must(w.reconcile(r, "alice"))
				return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonStandInRefused
			})
			delete(ns.Labels, "pod-security.kubernetes.io/enforce")
			w.must(w.Update(w.ctx, ns))
		}},
		"its owner gives up": {"", func(w *world, r *Reconciler) {
			w.drive(r, "alice", "it is held", func() bool { return w.session("alice").Status.HeldAt != nil })
			w.end(r, "alice")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.deployAlone(alone["a volume for one pod"])
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			c.spoil(w, operator)
			if c.reason != "" {
				w.drive(operator, "alice", "it is over", w.over("alice"))
				w.ended("alice", c.reason)
				if m := w.conditionOf("alice", v1alpha1.ConditionReady).Message; strings.TrimSpace(m) == "" {
					t.Error("nobody says why")
				}
			}
			w.until("the pods are back", func() bool { w.play(); return w.running("worker") == 2 })
			w.checkSame(before, w.deployment("worker"))
			if left := w.leftovers("worker"); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}
