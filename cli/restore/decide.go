package restore

import (
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// decision is what is to be done with one object.
type decision int

const (
	nothing decision = iota
	// number: write it and take the claim off.
	number
	// claim: take it off; the number is somebody's.
	claim
	// copied: take it off, but say what is in it. It is of another object, from
	// which this one was made, at zero; and its number is written nowhere else.
	copied
	// person: nobody knows the number.
	person
)

// verdict is a decision, and what is to be said of it.
type verdict struct {
	decision
	// replicas is the number that the object had before.
	replicas int32
	// kept names who has set the zero that the object is left at; empty where it is
	// not left at one, or had it before.
	kept string
}

// memory is what a Session that has not put its objects back remembers of one.
type memory struct {
	session types.UID
	record  v1alpha1.Record
	// begun says that it was about to be brought to zero.
	begun bool
}

// remembers is what a Session remembers of an object: its workload, or what scales
// that. Nil is nothing.
func remembers(s *v1alpha1.Session, uid types.UID) *memory {
	record := s.Status.Record
	if record == nil || restored(s) {
		return nil
	}
	if record.UID == uid {
		return &memory{session: s.UID, record: *record, begun: s.Status.HeldAt != nil}
	}
	for _, a := range record.Autoscalers {
		if a.UID == uid {
			return &memory{session: s.UID, record: v1alpha1.Record{UID: a.UID, Replicas: a.Replicas, ReplicaOwners: a.Owners, Returned: a.Resumed}, begun: true}
		}
	}
	return nil
}

// memory is that of the Session whose claim an object bears, else of one that has
// begun to hold it; nil is none. A Session that is over is kept for a while to be
// read, and the number is nobody's but the team's.
func (r *restorer) memory(object *unstructured.Unstructured) *memory {
	claimed, _ := v1alpha1.ParseClaim(object.GetAnnotations()[v1alpha1.ClaimAnnotation])
	var found *memory
	for i := range r.sessions {
		m := remembers(&r.sessions[i], object.GetUID())
		switch {
		case m == nil:
		case m.session == claimed.Session:
			return m
		case m.begun && found == nil:
			found = m
		}
	}
	return found
}

// decide goes by what a Session remembers of the object, as that session's end would;
// where none does, or the claim is of one that is gone, by the claim alone, as the
// operator's sweep. targeted says that the object was made anew under the name that
// the claim's session holds.
func decide(object *unstructured.Unstructured, field []string, m *memory, targeted bool) verdict {
	if m != nil {
		if seen := observe(object, field, m.session); seen.State != ownership.ClaimForeign {
			return recalled(m, seen)
		}
	}
	seen := observe(object, field, "")
	action, err := ownership.DecideSweep(seen)
	elsewhere := seen.Replicas == 0 && seen.Copied.Replicas != 0
	switch {
	case err != nil:
		return verdict{decision: person}
	case action == ownership.ReturnNumber:
		return verdict{decision: number, replicas: seen.Claim.Replicas}
	case action == ownership.ReturnClaim && elsewhere && targeted:
		// Made anew while it was held, from what was read of it.
		return verdict{decision: number, replicas: seen.Copied.Replicas}
	case action == ownership.ReturnClaim && elsewhere:
		return verdict{decision: copied, replicas: seen.Copied.Replicas}
	case action == ownership.ReturnClaim:
		return verdict{decision: claim}
	}
	return verdict{}
}

func recalled(m *memory, seen ownership.Observed) verdict {
	what := verdict{replicas: m.record.Replicas}
	switch ownership.DecideReturn(&m.record, seen, m.begun) {
	case ownership.ReturnNumber:
		what.decision = number
		if m.record.Replicas == seen.Replicas && !seen.Unset {
			what.decision = claim
		}
		return what
	case ownership.ReturnClaim:
		what.decision = claim
	case ownership.ReturnNothing:
	}
	if seen.Replicas == 0 && m.record.Replicas != 0 && !m.record.Returned {
		if what.kept = ownership.Writer(seen.Owners); what.kept == "" {
			what.kept = "somebody"
		}
	}
	return what
}

func observe(object *unstructured.Unstructured, field []string, session types.UID) ownership.Observed {
	replicas, unset := numberOf(object, field)
	return ownership.Observe(object, pathOf(field), replicas, unset, session)
}

// fieldOf is the field that a hold brings to zero.
func fieldOf(resource schema.GroupVersionResource) []string {
	switch resource.Group {
	case "batch":
		return []string{"spec", "suspend"}
	case "keda.sh":
		return []string{"metadata", "annotations", pausedAnnotation}
	}
	return []string{"spec", "replicas"}
}

// pathOf is a field in the notation of managedFields.
func pathOf(field []string) []string {
	var path []string
	for _, key := range field {
		path = append(path, "f:"+key)
	}
	return path
}

// numberOf reads the number: 1 and 0 of what is suspended or paused instead. unset
// says that it is left out and that we know of no default of its kind.
func numberOf(object *unstructured.Unstructured, field []string) (replicas int32, unset bool) {
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, field...)
	if err == nil && !found && field[len(field)-1] == "replicas" {
		// It is not what somebody wants, and no zero.
		unset = object.GroupVersionKind().GroupKind() != schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}
	}
	zero := unset
	switch v := value.(type) {
	case bool:
		zero = v
	case int64:
		return int32(v), false
	case string:
		paused, err := strconv.ParseBool(v)
		zero = err != nil || paused
	}
	if zero {
		return 0, unset
	}
	return 1, false
}
