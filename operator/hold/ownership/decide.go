package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// ClaimState is what the annotation on a workload is to one session.
type ClaimState int

const (
	// ClaimNone: there is none, or one that was copied from another object.
	ClaimNone ClaimState = iota
	// ClaimOurs: this session's.
	ClaimOurs
	// ClaimForeign: another session's, on this very object.
	ClaimForeign
	// ClaimDamaged: it cannot be read.
	ClaimDamaged
)

// Observed is what was read of a workload at one moment.
type Observed struct {
	UID      types.UID
	Replicas int32
	// Unset says that there is no number: not a zero of ours nor of anybody.
	Unset bool
	// Claim is set for ClaimOurs and ClaimForeign.
	Claim v1alpha1.Claim
	State ClaimState
	// Copied is the claim on another object that this one bears: it was made from
	// what was read of that one while it was held.
	Copied v1alpha1.Claim
	// CopiedOurs says that it is this session's, so that the other is the object of
	// the same name that was here before.
	CopiedOurs bool
	// Damage is why the claim cannot be read, for ClaimDamaged.
	Damage error
	// Annotated says that there is an annotation, whatever it is worth.
	Annotated bool
	// Marked says that a mark of ours is on it, which keeps Flux away.
	Marked bool
	// Marks are the keys of all marks that nobody else has a hand on, ours or not.
	Marks []string
	// Owners of the number of replicas apart from ourselves.
	Owners []v1alpha1.FieldOwner
	// Owed are those that we took the number from and have not given it back yet.
	Owed []v1alpha1.FieldOwner
	// OwnNumber says that our own entry owns the number.
	OwnNumber bool
	// OwnEntry says that there is an entry of ours, as there is while our claim
	// is on it: the managed fields were not reset by anybody.
	OwnEntry bool
}

// Observe looks at an object with the eyes of a session. number is where its number
// is, in the notation of managedFields, replicas what it is, and unset that there is
// none.
func Observe(object metav1.Object, number []string, replicas int32, unset bool, session types.UID) Observed {
	fields := object.GetManagedFields()
	o := Observed{
		UID:       object.GetUID(),
		Replicas:  replicas,
		Unset:     unset,
		Owners:    Owners(fields, number),
		Owed:      Owed(fields, number),
		OwnNumber: OwnsNumber(fields, number),
		OwnEntry:  OwnsAnything(fields),
		Marked:    v1alpha1.Marked(object.GetLabels()),
	}
	for _, m := range v1alpha1.Marks {
		o.Marks = append(o.Marks, UnownedMarks(object, m.Key)...)
	}
	var value string
	if value, o.Annotated = object.GetAnnotations()[v1alpha1.ClaimAnnotation]; !o.Annotated {
		return o
	}
	claim, err := v1alpha1.ParseClaim(value)
	switch {
	case err != nil:
		o.State, o.Damage = ClaimDamaged, err
	case claim.Workload != o.UID:
		o.State, o.Copied, o.CopiedOurs = ClaimNone, claim, claim.Session == session
	case claim.Session == session:
		o.State, o.Claim = ClaimOurs, claim
	default:
		o.State, o.Claim = ClaimForeign, claim
	}
	return o
}

// Rightful are the owners of the number, had we not written it.
func (o Observed) Rightful() []v1alpha1.FieldOwner { return slices.Concat(o.Owners, o.Owed) }

// remade says that the number is what came of our own writing of another one, which is
// meant still: a mutating webhook or policy of the cluster changes what is written.
func (o Observed) remade(meant int32) bool {
	return o.OwnNumber && len(o.Owners) == 0 && !o.Unset && o.Replicas != meant
}

// CopiedZero says that an object was made at the zero that this session held the
// one of before at.
func (o Observed) CopiedZero() bool { return o.CopiedOurs && o.Replicas == 0 }

// Free says what stands between a session and a workload that it wants.
type Free int

const (
	// FreeToTake: nothing does; a claim that is there means nothing any more.
	FreeToTake Free = iota
	// FreeAfterRestore: a session that is gone left the workload at zero; it is
	// to be put back first, for its number is in the claim and nowhere else.
	FreeAfterRestore
	// HeldByAnother: another session lives.
	HeldByAnother
	// FreeUnknown: the claim cannot be read and the workload is at zero, so
	// that nobody knows what it should be.
	FreeUnknown
)

// DecideFree decides whether a workload may be claimed. alive says that the
// session of a foreign claim exists and has not put the workload back.
func DecideFree(o Observed, alive bool) Free {
	switch {
	case o.State == ClaimForeign && alive:
		return HeldByAnother
	case o.State == ClaimForeign && (o.Replicas == 0 || o.remade(o.Claim.Replicas)):
		return FreeAfterRestore
	case o.State == ClaimDamaged && o.Replicas == 0:
		return FreeUnknown
	}
	return FreeToTake
}

// Progress is how far a session has come with the object of its record.
type Progress int

const (
	// NotBegun: nothing but the claim was written to it.
	NotBegun Progress = iota
	// Begun: it was noted that it is about to be brought to zero.
	Begun
	// Held: it was brought to zero.
	Held
)

// Remember is the record that a session ought to have of what it sees, and
// whether that differs from the one it has. A zero is ours once the hold was
// begun, unless there is evidence that somebody asked for it (wishedZero); any
// other number on a held object is somebody's new wish, and the one to put back
// from now on.
func Remember(record *v1alpha1.Record, o Observed, progress Progress) (*v1alpha1.Record, bool) {
	held := progress == Held
	fresh := &v1alpha1.Record{UID: o.UID, Replicas: o.Replicas, ReplicaOwners: o.Rightful()}
	if record != nil {
		fresh.Autoscalers, fresh.Applications = record.Autoscalers, record.Applications
		if record.UID == o.UID {
			fresh.Marks = record.Marks
		}
	}
	switch {
	case (record == nil || record.UID != o.UID) && o.State == ClaimOurs && o.Replicas == 0:
		// The status lost what the claim still knows.
		fresh.Replicas = o.Claim.Replicas
		return fresh, true
	case (record == nil || record.UID != o.UID) && o.CopiedZero():
		// Nor did who replaced the object mean more than to write back what he had read.
		fresh.Replicas = o.Copied.Replicas
		return fresh, true
	case record == nil || record.UID != o.UID:
		return fresh, true
	case o.Unset && progress != NotBegun:
		// Somebody's manifest has left it out; what it was is known still, and who
		// owned it will not want it back.
		if SameOwners(o.Rightful(), record.ReplicaOwners) {
			return record, false
		}
		fresh.Replicas, fresh.ChangedBy = record.Replicas, record.ChangedBy
		return fresh, true
	case o.Replicas == 0 && (held || (progress == Begun && (o.State == ClaimOurs || o.CopiedOurs))):
		if by := wishedZero(record, o, progress); by != "" {
			fresh.ChangedBy = by
			return fresh, true
		}
		if len(Joined(record, o)) == 0 {
			// Our zero.
			return record, false
		}
		// Ours still, and theirs is the ownership of the number that comes back.
		fresh.Replicas, fresh.ChangedBy = record.Replicas, record.ChangedBy
		return fresh, true
	case progress == Begun && o.remade(record.Replicas):
		// What came of our zero.
		return record, false
	case !held && o.Replicas == record.Replicas && SameOwners(o.Rightful(), record.ReplicaOwners):
		return record, false
	case !held:
		fresh.ChangedBy = record.ChangedBy
		return fresh, true
	case len(record.Autoscalers) > 0 && (byAutoscaler(o.Owners) || len(o.Owners) == 0):
		// What it still wrote while it was being paused. Of a number that nobody owns
		// the scale subresource makes nobody the owner, and whose it is does not
		// matter: once it goes on, the autoscaler decides.
		return record, false
	case byAutoscaler(o.Owners) && record.Replicas == 0:
		// An autoscaler writes to what is at zero only if it has brought it there
		// itself, and would never look at it again if it came back to zero: it takes
		// our zero for a person's.
	case byAutoscaler(o.Owners) || (o.OwnNumber && len(o.Owners) == 0):
		// Nobody's wish: an autoscaler that has not noticed, or our own writing.
		return record, false
	}
	fresh.ChangedBy = orUnknown(Writer(o.Owners))
	if fresh.Replicas == record.Replicas && fresh.ChangedBy == record.ChangedBy && SameOwners(fresh.ReplicaOwners, record.ReplicaOwners) {
		return record, false
	}
	return fresh, true
}

// wishedZero names who asked for zero replicas of an object that is at our
// zero; empty is nobody, or somebody who left no trace. What is evidence is that
// the number was not ours any more when the zero was written over it:
//   - A manager that did not when it was recorded owns it by an update. Those
//     become owners of what they change and of nothing else.
//   - Nobody owns it, and somebody did: another number went over it, and then a
//     zero by way of the scale subresource, which makes its writer no owner.
//   - Between the note that the hold is begun and our patch: anybody owns it but
//     us and those of the record.
//
// A server-side apply is none. Who applies what is there already owns it beside
// the others, and a zero may be no more than what was read of the object: Argo CD
// copies the live number into what it applies when it is told to ignore it,
// `kubectl get -o yaml | kubectl apply --server-side` does, and the latter makes
// the owner of before into its own. Joined has those.
func wishedZero(record *v1alpha1.Record, o Observed, progress Progress) string {
	if record.Replicas == 0 || o.OwnNumber || o.Unset {
		return ""
	}
	if len(o.Owners) == 0 && len(record.ReplicaOwners) > 0 && o.OwnEntry {
		return orUnknown("")
	}
	others := strangers(record, o)
	ownedStill := slices.ContainsFunc(o.Owners, func(now v1alpha1.FieldOwner) bool { return containsOwner(record.ReplicaOwners, now) })
	if progress != Begun || !o.OwnEntry || ownedStill {
		others = slices.DeleteFunc(others, applies)
	}
	if len(others) == 0 || byAutoscaler(others) {
		return ""
	}
	return orUnknown(Writer(others))
}

// Joined are those who have applied our zero, and own it since beside those of
// the record: no wish, but something to be said.
func Joined(record *v1alpha1.Record, o Observed) []v1alpha1.FieldOwner {
	if record.Replicas == 0 || o.Replicas != 0 {
		return nil
	}
	return slices.DeleteFunc(strangers(record, o), func(owner v1alpha1.FieldOwner) bool { return !applies(owner) })
}

// withoutJoined are the owners without those, unless there is no other.
func withoutJoined(record *v1alpha1.Record, o Observed) []v1alpha1.FieldOwner {
	joined := Joined(record, o)
	if len(joined) == len(o.Owners) {
		return o.Owners
	}
	return slices.DeleteFunc(slices.Clone(o.Owners), func(owner v1alpha1.FieldOwner) bool { return containsOwner(joined, owner) })
}

// strangers are the owners that were none when the number was recorded.
func strangers(record *v1alpha1.Record, o Observed) []v1alpha1.FieldOwner {
	return slices.DeleteFunc(slices.Clone(o.Owners), func(owner v1alpha1.FieldOwner) bool {
		return containsOwner(record.ReplicaOwners, owner) || slices.Contains(renamed, owner.Manager)
	})
}

func containsOwner(owners []v1alpha1.FieldOwner, owner v1alpha1.FieldOwner) bool {
	return slices.ContainsFunc(owners, func(o v1alpha1.FieldOwner) bool { return sameOwner(o, owner) })
}

func applies(owner v1alpha1.FieldOwner) bool {
	return owner.Operation == metav1.ManagedFieldsOperationApply
}

// renamed are the names under which the API server sums up owners that it no
// longer tells apart: the oldest of many, and all there were when the managed
// fields were reset. They are no new owners.
var renamed = []string{"ancient-changes", "before-first-apply"}

func orUnknown(manager string) string {
	if manager == "" {
		return "unknown"
	}
	return manager
}

// byAutoscaler: of the controllers in kube-controller-manager only the
// horizontal pod autoscaler writes through the scale subresource. KEDA's operator
// does so under its program's name.
func byAutoscaler(owners []v1alpha1.FieldOwner) bool {
	return len(owners) > 0 && !slices.ContainsFunc(owners, func(o v1alpha1.FieldOwner) bool {
		return (o.Manager != "kube-controller-manager" && o.Manager != "keda") || o.Subresource != "scale" || o.Operation != metav1.ManagedFieldsOperationUpdate
	})
}

// Keeps says whether the workload is as a hold with this record wants it.
func Keeps(record *v1alpha1.Record, o Observed) bool {
	return o.UID == record.UID && o.Replicas == 0 && !o.Unset && o.State == ClaimOurs && o.Claim.Replicas == record.Replicas
}

// Return is what is to be done to put a workload back.
type Return int

const (
	// ReturnNothing: it bears nothing of ours.
	ReturnNothing Return = iota
	// ReturnNumber: write the number and take the claim away.
	ReturnNumber
	// ReturnClaim: take the claim and the marks away; the number is somebody
	// else's.
	ReturnClaim
)

// DecideReturn decides how to put a workload back. held says that the session
// noted that it was about to bring it to zero. Only our own zero is replaced:
// it is ours if our claim is on it, or if the claim was stripped off and those
// who owned the number own it still, alone or with others that have applied it. Once
// the number was put back a zero without a claim is theirs. What the API server has made
// of a number of our own writing is nobody's wish either, zero or not.
func DecideReturn(record *v1alpha1.Record, o Observed, held bool) Return {
	if record == nil || o.UID != record.UID {
		return ReturnNothing
	}
	switch o.State {
	case ClaimOurs:
		if held && (o.Replicas == 0 && wishedZero(record, o, Held) == "" || o.remade(record.Replicas)) {
			return ReturnNumber
		}
		return ReturnClaim
	case ClaimNone, ClaimDamaged:
		ours := o.Replicas == 0 && record.Replicas != 0 && (o.OwnNumber || SameOwners(withoutJoined(record, o), record.ReplicaOwners))
		if held && !record.Returned && (ours || o.remade(record.Replicas)) {
			return ReturnNumber
		}
		if o.Annotated || o.Marked || slices.ContainsFunc(record.Marks, func(key string) bool { return slices.Contains(o.Marks, key) }) {
			return ReturnClaim
		}
	case ClaimForeign:
	}
	return ReturnNothing
}

// DecideSweep decides what to do with a workload whose claim belongs to no
// living session. Its only memory is the claim: one that cannot be read, on a
// workload at zero, is left for a person to look at.
func DecideSweep(o Observed) (Return, error) {
	switch {
	case !o.Annotated && !o.Marked:
		return ReturnNothing, nil
	case o.State == ClaimDamaged && o.Replicas == 0:
		return ReturnNothing, o.Damage
	case o.State == ClaimForeign && (o.Replicas == 0 && o.Claim.Replicas != 0 || o.remade(o.Claim.Replicas)):
		return ReturnNumber, nil
	}
	return ReturnClaim, nil
}
