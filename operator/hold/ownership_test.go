package hold

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold/ownership"
)

func TestMain(m *testing.M) { os.Exit(apitest.Main(m)) }

// The ways in which a number gets its owner, all on a real API server: it is
// the server that decides what becomes of managedFields.
var firstWriters = map[string]func(*testing.T, client.Client, *appsv1.Deployment){
	"server-side apply": func(t *testing.T, c client.Client, d *appsv1.Deployment) {
		d.Spec.Replicas = ptr.To(int32(3))
		apply(t, c, d, "team")
	},
	"client-side apply": func(t *testing.T, c client.Client, d *appsv1.Deployment) {
		d.Spec.Replicas = ptr.To(int32(3))
		must(t, c.Create(t.Context(), d, client.FieldOwner("kubectl-client-side-apply")))
	},
	"kubectl scale after apply without a number": func(t *testing.T, c client.Client, d *appsv1.Deployment) {
		apply(t, c, d, "team")
		scale(t, c, d, 3)
	},
	"nobody: the default of one": func(t *testing.T, c client.Client, d *appsv1.Deployment) {
		apply(t, c, d, "team")
	},
	"two owners of one number": func(t *testing.T, c client.Client, d *appsv1.Deployment) {
		d.Spec.Replicas = ptr.To(int32(3))
		apply(t, c, d.DeepCopy(), "team")
		apply(t, c, d.DeepCopy(), "platform")
		must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
	},
	"with annotations of its own": func(t *testing.T, c client.Client, d *appsv1.Deployment) {
		d.Spec.Replicas = ptr.To(int32(3))
		d.Annotations = map[string]string{"team": "shop"}
		apply(t, c, d, "team")
	},
}

// A hold and a return leave the object as it was, managedFields included; and
// while it is held, its owner meets no conflict either.
func TestOwnershipComesBack(t *testing.T) {
	for name, write := range firstWriters {
		t.Run(name, func(t *testing.T) {
			c, namespace := apiClient(t)
			holder := Holder{API: API{Reader: c, Writer: c}}
			d := bare(namespace)
			write(t, c, d)
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			before := d.DeepCopy()
			number := *d.Spec.Replicas
			owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())

			claim := NewClaim(d.UID, "s-1", "alice-1", "alice", number, before.CreationTimestamp.Time)
			must(t, holder.Claim(t.Context(), d, claim))
			must(t, holder.Zero(t.Context(), Deployment{}, d, claim, owners))
			if *d.Spec.Replicas != 0 {
				t.Fatalf("%d replicas after the hold", *d.Spec.Replicas)
			}
			giveBack(t, holder, d, owners, true)
			held := d.DeepCopy()
			if !ownership.SameOwners(owners, ownership.Owners(held.ManagedFields, Deployment{}.Field())) || ownership.OwnsNumber(held.ManagedFields, Deployment{}.Field()) {
				t.Errorf("while it is held the number is owned by %+v", held.ManagedFields)
			}

			must(t, holder.Return(t.Context(), Deployment{}, d, number, owners))
			giveBack(t, holder, d, owners, false)
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			if diff := cmp.Diff(normal(t, before), normal(t, d)); diff != "" {
				t.Errorf("the object differs (-before +after):\n%s", diff)
			}
			if again, err := holder.GiveBack(t.Context(), Deployment{}, d, nil, false); again || err != nil {
				t.Errorf("there is still something to give back: %v, %v", again, err)
			}
		})
	}
}

// The number of who owned it alone, by an update, is its own again by the same request.
func TestSoleUpdaterHasItBackAtOnce(t *testing.T) {
	c, namespace := apiClient(t)
	holder := Holder{API: API{Reader: c, Writer: c}}
	d := bare(namespace)
	firstWriters["client-side apply"](t, c, d)
	before := d.DeepCopy()
	owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())
	claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, d.CreationTimestamp.Time)
	must(t, holder.Zero(t.Context(), Deployment{}, d, claim, owners))
	must(t, holder.Return(t.Context(), Deployment{}, d, 3, owners))
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
	if diff := cmp.Diff(normal(t, before), normal(t, d)); diff != "" {
		t.Errorf("the object differs (-before +after):\n%s", diff)
	}
}

// Who writes the number may die before giving its ownership back, and the
// Session's memory may be gone by then: whose it is is still on the object itself,
// and nothing of that is left once it was given back.
func TestOwedSurvives(t *testing.T) {
	for name, write := range firstWriters {
		t.Run(name, func(t *testing.T) {
			c, namespace := apiClient(t)
			holder := Holder{API: API{Reader: c, Writer: c}}
			d := bare(namespace)
			write(t, c, d)
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			before := d.DeepCopy()
			owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())
			claim := NewClaim(d.UID, "s-1", "alice-1", "alice", *d.Spec.Replicas, before.CreationTimestamp.Time)

			must(t, holder.Zero(t.Context(), Deployment{}, d, claim, owners))
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			held := Observe(Deployment{}, d, "")
			if !ownership.SameOwners(held.Rightful(), owners) {
				t.Errorf("at zero it is owed to %+v, want %+v", held.Rightful(), owners)
			}
			// A sweep that has nothing but the object, and dies after its own first write.
			must(t, holder.Return(t.Context(), Deployment{}, d, held.Claim.Replicas, held.Rightful()))
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			back := Observe(Deployment{}, d, "")
			if !ownership.SameOwners(back.Rightful(), owners) {
				t.Errorf("put back it is owed to %+v, want %+v", back.Rightful(), owners)
			}
			giveBack(t, holder, d, back.Rightful(), false)
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			if diff := cmp.Diff(normal(t, before), normal(t, d)); diff != "" {
				t.Errorf("the object differs (-before +after):\n%s", diff)
			}
		})
	}
}

// A number that somebody else wrote since is nobody's to have back.
func TestOwedIsOverWithAnotherNumber(t *testing.T) {
	c, namespace := apiClient(t)
	holder := Holder{API: API{Reader: c, Writer: c}}
	d := bare(namespace)
	firstWriters["server-side apply"](t, c, d)
	owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())
	claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, d.CreationTimestamp.Time)
	must(t, holder.Zero(t.Context(), Deployment{}, d, claim, owners))
	scale(t, c, d, 5)
	seen := Observe(Deployment{}, d, "s-1")
	if len(seen.Owed) > 0 || ownership.Writer(seen.Rightful()) != "kubectl" {
		t.Errorf("after kubectl's 5 it is owned by %+v and owed to %+v", seen.Owners, seen.Owed)
	}
	giveBack(t, holder, d, nil, false)
	for _, entry := range d.ManagedFields {
		if strings.Contains(string(entry.FieldsV1.Raw), "understudy.dev/owed") {
			t.Errorf("the mark is left in the entry of %s", entry.Manager)
		}
	}
}

// The next apply of the team goes through, with another number, while the
// workload is held and after it.
func TestTeamMeetsNoConflict(t *testing.T) {
	for name, during := range map[string]bool{"during the hold": true, "after it": false} {
		t.Run(name, func(t *testing.T) {
			c, namespace := apiClient(t)
			holder := Holder{API: API{Reader: c, Writer: c}}
			d := bare(namespace)
			firstWriters["server-side apply"](t, c, d)
			owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())
			claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, d.CreationTimestamp.Time)
			must(t, holder.Zero(t.Context(), Deployment{}, d, claim, owners))
			giveBack(t, holder, d, owners, true)
			if !during {
				must(t, holder.Return(t.Context(), Deployment{}, d, 3, owners))
				giveBack(t, holder, d, owners, false)
			}
			next := bare(namespace)
			next.Spec.Replicas = ptr.To(int32(8))
			apply(t, c, next, "team")
			seen := Observe(Deployment{}, next, "s-1")
			if seen.Replicas != 8 || ownership.Writer(seen.Owners) != "team" {
				t.Errorf("the team's apply made it %d, by %q", seen.Replicas, ownership.Writer(seen.Owners))
			}
			if during && seen.State != ownership.ClaimOurs {
				t.Error("the team's apply took the claim off")
			}
		})
	}
}

// A write that was decided on an old sight of the object changes nothing.
func TestOutdatedWritesConflict(t *testing.T) {
	c, namespace := apiClient(t)
	holder := Holder{API: API{Reader: c, Writer: c}}
	d := bare(namespace)
	firstWriters["server-side apply"](t, c, d)
	old := func() *appsv1.Deployment { return d.DeepCopy() }
	claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, d.CreationTimestamp.Time)
	scale(t, c, d.DeepCopy(), 4)
	for name, write := range map[string]func() error{
		"claim":     func() error { return holder.Claim(t.Context(), old(), claim) },
		"zero":      func() error { return holder.Zero(t.Context(), Deployment{}, old(), claim, nil) },
		"return":    func() error { return holder.Return(t.Context(), Deployment{}, old(), 9, nil) },
		"ownership": func() error { _, err := holder.GiveBack(t.Context(), Deployment{}, old(), nil, false); return err },
	} {
		err := write()
		if name == "ownership" && err == nil {
			continue // there is nothing of ours to give back
		}
		if client.IgnoreNotFound(err) == nil || !apierrors.IsConflict(err) {
			t.Errorf("%s on an old sight: %v, want a conflict", name, err)
		}
	}
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
	if *d.Spec.Replicas != 4 || len(d.Annotations) != 0 {
		t.Errorf("the object was changed: %d replicas, %v", *d.Spec.Replicas, d.Annotations)
	}
}

func apiClient(t *testing.T) (client.Client, string) {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	c, err := client.New(apitest.Config(t), client.Options{Scheme: scheme})
	must(t, err)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "hold-"}}
	must(t, c.Create(t.Context(), namespace))
	return c, namespace.Name
}

func bare(namespace string) *appsv1.Deployment {
	labels := map[string]string{"app": "worker"}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "worker"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "registry.example/worker:1"}}},
			},
		},
	}
}

func apply(t *testing.T, c client.Client, d *appsv1.Deployment, manager string) {
	t.Helper()
	data, err := json.Marshal(d)
	must(t, err)
	must(t, c.Patch(t.Context(), d, client.RawPatch("application/apply-patch+yaml", data), client.FieldOwner(manager)))
}

func scale(t *testing.T, c client.Client, d *appsv1.Deployment, replicas int) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	must(t, c.SubResource("scale").Patch(t.Context(), d.DeepCopy(), patch, client.FieldOwner("kubectl")))
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
}

func giveBack(t *testing.T, holder Holder, d *appsv1.Deployment, owners []v1alpha1.FieldOwner, keepClaim bool) {
	t.Helper()
	_, err := holder.GiveBack(t.Context(), Deployment{}, d, owners, keepClaim)
	must(t, err)
}

// normal is everything but resourceVersion, generation and times.
func normal(t *testing.T, d *appsv1.Deployment) any {
	t.Helper()
	d = d.DeepCopy()
	d.ResourceVersion, d.Generation = "", 0
	for i := range d.ManagedFields {
		d.ManagedFields[i].Time = nil
	}
	data, err := json.Marshal(d)
	must(t, err)
	var tree map[string]any
	must(t, json.Unmarshal(data, &tree))
	return tree
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
