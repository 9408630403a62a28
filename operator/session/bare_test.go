package session

import (
	"errors"
	"testing"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// The definition of Sessions was deleted while no operator ran, and with it every
// Session. The next operator puts back what bears a claim, though its controllers
// cannot start; a claim that cannot be read is taken off what is not at zero.
func TestNoDefinitionOfSessions(t *testing.T) {
	w := worldAt(t, apitest.Bare(t))
	w.deploy("worker", 3)
	w.claim("worker", w.deployment("worker").UID, 3)
	w.zero("worker")
	w.deploy("damaged", 2)
	d := w.deployment("damaged")
	d.Annotations = map[string]string{v1alpha1.ClaimAnnotation: "{"}
	w.must(w.Update(w.ctx, d))

	// An API server that has only just begun looks the same for a moment.
	if err := (&Sweep{Reconciler: w.operator(w.WithWatch)}).sweep(w.ctx, true); !errors.Is(err, errUnsure) || *w.deployment("worker").Spec.Replicas != 0 {
		t.Fatalf("the first look decides: %v", err)
	}
	w.start()
	w.eventually("it is put back", func() bool {
		d := w.deployment("worker")
		_, claimed := d.Annotations[v1alpha1.ClaimAnnotation]
		_, damaged := w.deployment("damaged").Annotations[v1alpha1.ClaimAnnotation]
		return *d.Spec.Replicas == 3 && !claimed && !damaged
	})
	if n := *w.deployment("damaged").Spec.Replicas; n != 2 {
		t.Errorf("the other is at %d, not 2", n)
	}
}
