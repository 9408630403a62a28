package hold

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold/ownership"
)

// remakes has the API server make one number of every number that is written.
func remakes(t *testing.T, c client.Client, d *appsv1.Deployment, replicas int) (undo func()) {
	t.Helper()
	return apitest.Mutate(t, c, d.Namespace, appsv1.SchemeGroupVersion.WithResource("deployments"), fmt.Sprintf("Object{spec: Object.spec{replicas: %d}}", replicas), func() bool {
		trial := d.DeepCopy()
		must(t, c.Patch(t.Context(), trial, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":9}}`)), client.DryRunAll))
		return int(*trial.Spec.Replicas) == replicas
	})
}

// A number of which the API server makes another is not put back, and is not lost: it
// is to be put back still by who remembers it, and by a sweep that has nothing but the
// object; and when it is taken the object is as it was. So it is though somebody's
// write comes in between; only another number is left alone.
func TestReturnThatIsRemade(t *testing.T) {
	for name, c := range map[string]struct {
		first   string // who wrote the number
		made    int
		between func(*testing.T, client.Client, *appsv1.Deployment)
		left    bool
	}{
		"zero, applied":                    {"server-side apply", 0, nil, false},
		"zero, updated":                    {"client-side apply", 0, nil, false},
		"another, applied":                 {"server-side apply", 2, nil, false},
		"another, updated":                 {"client-side apply", 2, nil, false},
		"another, and its controller":      {"client-side apply", 2, observes, false},
		"another, and somebody's number":   {"client-side apply", 2, fives, true},
		"two owners":                       {"two owners of one number", 0, nil, false},
		"zero, updated, by its controller": {"client-side apply", 0, observes, false},
	} {
		t.Run(name, func(t *testing.T) {
			plain, namespace := apiClient(t)
			d := bare(namespace)
			firstWriters[c.first](t, plain, d)
			must(t, plain.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			before := d.DeepCopy()
			owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())
			record := &v1alpha1.Record{UID: d.UID, Replicas: 3, ReplicaOwners: owners}
			claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, before.CreationTimestamp.Time)
			holder := Holder{API: API{Reader: plain, Writer: plain}}
			must(t, holder.Zero(t.Context(), Deployment{}, d, claim, owners))
			giveBack(t, holder, d, owners, true)

			undo := remakes(t, plain, d, c.made)
			writes := 0
			scheme := runtime.NewScheme()
			must(t, clientgoscheme.AddToScheme(scheme))
			watching, err := client.NewWithWatch(apitest.Config(t), client.Options{Scheme: scheme})
			must(t, err)
			holder.Writer = interceptor.NewClient(watching, interceptor.Funcs{Patch: func(ctx context.Context, next client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
				if writes++; writes == 2 && c.between != nil {
					c.between(t, plain, d.DeepCopy())
				}
				return next.Patch(ctx, object, patch, options...)
			}})
			for range 2 {
				must(t, plain.Get(t.Context(), client.ObjectKeyFromObject(d), d))
				err := holder.Return(t.Context(), Deployment{}, d, 3, owners)
				if !IsRemade(err) || !strings.Contains(err.Error(), "3 replicas was written, and "+Deployment{}.Describe(int32(c.made))+" came of it") {
					t.Fatalf("it is put back: %v", err)
				}
				must(t, plain.Get(t.Context(), client.ObjectKeyFromObject(d), d))
				if c.left {
					break
				}
				if got := ownership.DecideReturn(record, Observe(Deployment{}, d, "s-1"), true); got != ownership.ReturnNumber {
					t.Errorf("its session decides for %v", got)
				}
				if got, err := ownership.DecideSweep(Observe(Deployment{}, d, "")); got != ownership.ReturnNumber || err != nil {
					t.Errorf("a sweep decides for %v (%v)", got, err)
				}
			}
			undo()
			if c.left {
				if *d.Spec.Replicas != 5 || ownership.DecideReturn(record, Observe(Deployment{}, d, "s-1"), true) != ownership.ReturnNothing {
					t.Errorf("somebody's 5 is %d", *d.Spec.Replicas)
				}
				return
			}
			must(t, holder.Return(t.Context(), Deployment{}, d, 3, ownership.Observed{Owed: Observe(Deployment{}, d, "").Owed}.Rightful()))
			giveBack(t, holder, d, owners, false)
			must(t, plain.Get(t.Context(), client.ObjectKeyFromObject(d), d))
			// A status that its controller wrote is its own.
			normalBefore, now := before.DeepCopy(), d.DeepCopy()
			for _, d := range []*appsv1.Deployment{normalBefore, now} {
				d.Status = appsv1.DeploymentStatus{}
				d.ManagedFields = withoutStatus(d)
			}
			if diff := cmp.Diff(normal(t, normalBefore), normal(t, now)); diff != "" {
				t.Errorf("the object differs (-before +after):\n%s", diff)
			}
		})
	}
}

// A zero of which the API server makes another number is none, and no owner's wish.
func TestZeroThatIsRemade(t *testing.T) {
	c, namespace := apiClient(t)
	holder := Holder{API: API{Reader: c, Writer: c}}
	d := bare(namespace)
	firstWriters["server-side apply"](t, c, d)
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
	owners := ownership.Owners(d.ManagedFields, Deployment{}.Field())
	record := &v1alpha1.Record{UID: d.UID, Replicas: 3, ReplicaOwners: owners}
	undo := remakes(t, c, d, 2)
	for range 2 {
		claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, d.CreationTimestamp.Time)
		if err := holder.Zero(t.Context(), Deployment{}, d, claim, owners); !IsRemade(err) {
			t.Fatalf("it is held at %d: %v", *d.Spec.Replicas, err)
		}
		seen := Observe(Deployment{}, d, "s-1")
		if now, changed := ownership.Remember(record, seen, ownership.Held); changed {
			t.Errorf("%+v is recorded", now)
		}
		if got := ownership.DecideReturn(record, seen, true); got != ownership.ReturnNumber {
			t.Errorf("at the end it is %v", got)
		}
	}
	undo()
	must(t, holder.Return(t.Context(), Deployment{}, d, 3, owners))
	if *d.Spec.Replicas != 3 {
		t.Errorf("it is at %d", *d.Spec.Replicas)
	}
}

// observes has the deployment's controller write its status.
func observes(t *testing.T, c client.Client, d *appsv1.Deployment) {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":1,"replicas":2}}`))
	must(t, c.Status().Patch(t.Context(), d, patch, client.FieldOwner("kube-controller-manager")))
}

// fives has somebody scale it to five, by a request that nothing changes.
func fives(t *testing.T, c client.Client, d *appsv1.Deployment) {
	t.Helper()
	scale(t, c, d, 5)
}

func withoutStatus(d *appsv1.Deployment) (left []metav1.ManagedFieldsEntry) {
	for _, entry := range d.ManagedFields {
		if entry.Subresource != "status" {
			left = append(left, entry)
		}
	}
	return left
}
