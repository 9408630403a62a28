package session

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
	"understudy.dev/understudy/operator/hold/standing"
)

// visit is one reconciliation: the Session as it was read and is being
// changed, and what else was read for it.
type visit struct {
	*Reconciler
	session *v1alpha1.Session
	saved   *v1alpha1.SessionStatus
	notices []notice
	// next is the earliest time at which somebody asked to look again; 0 is
	// when something changes.
	next time.Duration
	// later says that what is left to do may wait for other sessions' numbers.
	later bool
	// heard says that the owner's silence was looked at, and silent that it has lasted
	// for half of the lease: the next visit may be the one that ends the session.
	heard, silent bool
	// gone says that a NotFound error is the Session's own end.
	gone bool

	// Set by resolve and restore; object is nil when the workload is gone.
	kind   hold.Workload
	object client.Object
	seen   ownership.Observed
	// Set by targetPod: the pod that is frozen.
	pod *corev1.Pod
	// controllers of ReplicaSets and Jobs: see above.
	controllers standing.Above
	// nodes that were read.
	nodes map[string]hold.NodeState
	// at is when the Session was last read or written.
	at time.Time
	// unread says that the Session is the one that the last visit has left.
	unread bool
	// returned says that the number was put back just now.
	returned bool
}

// notice is an event to be sent once the status that it speaks of is saved.
type notice struct {
	kind, reason, action, note string
	workload                   bool
}

func newVisit(r *Reconciler, session *v1alpha1.Session) *visit {
	// Who writes without them leaves them as they are.
	session.ManagedFields = nil
	v := &visit{Reconciler: r, session: session, saved: session.Status.DeepCopy()}
	for _, condition := range v.conditions() {
		if v.condition(condition) == nil {
			v.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "Not come to yet.")
		}
	}
	session.Status.ObservedGeneration = session.Generation
	return v
}

func (v *visit) key() client.ObjectKey { return client.ObjectKeyFromObject(v.session) }

func (v *visit) status() *v1alpha1.SessionStatus { return &v.session.Status }

func (v *visit) condition(kind string) *metav1.Condition {
	return meta.FindStatusCondition(v.session.Status.Conditions, kind)
}

// says tells whether that is a condition's message already.
func (v *visit) says(kind, message string) bool {
	return v.condition(kind).Message == cut(message, maxMessage)
}

func (v *visit) is(kind string) bool {
	return meta.IsStatusConditionTrue(v.session.Status.Conditions, kind)
}

func (v *visit) set(kind string, status metav1.ConditionStatus, reason, message string) {
	condition := metav1.Condition{Type: kind, Status: status, Reason: reason, Message: cut(message, maxMessage), ObservedGeneration: v.session.Generation}
	if old := v.condition(kind); old == nil || old.Status != status {
		condition.LastTransitionTime = metav1.NewTime(v.now())
	}
	meta.SetStatusCondition(&v.session.Status.Conditions, condition)
}

// waiting says on Ready what is waited for. Before the hold Ready stays
// Unknown, with the time of the first sight: the setup deadline counts from it.
func (v *visit) waiting(reason, message string) {
	status := metav1.ConditionUnknown
	if v.status().HeldAt != nil || v.status().ReadyAt != nil {
		status = metav1.ConditionFalse
	}
	if v.is(v1alpha1.ConditionReady) {
		v.event(corev1.EventTypeWarning, reason, "Interrupt", "The session is no longer ready: "+message)
	}
	v.set(v1alpha1.ConditionReady, status, reason, message)
}

// conclude writes the reason that ends the session.
func (v *visit) conclude(end *finalError) {
	v.over(end.reason, end.message)
	v.event(corev1.EventTypeWarning, end.reason, "End", end.message)
	v.Metrics.ended(end.reason)
}

// over makes Ready False as of now, even if it was False for another reason
// before: what may follow only after a while counts from here.
func (v *visit) over(reason, message string) {
	v.condition(v1alpha1.ConditionReady).Status = metav1.ConditionUnknown
	v.set(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
}

// ending says whether the session is to be undone.
func (v *visit) ending() bool {
	return !v.session.DeletionTimestamp.IsZero() || v.final()
}

func (v *visit) final() bool {
	ready := v.condition(v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionFalse && finalReasons[ready.Reason]
}

// again asks to be woken after d, or earlier if somebody else asked so.
func (v *visit) again(d time.Duration) {
	if d <= 0 {
		d = time.Millisecond
	}
	if v.next == 0 || d < v.next {
		v.next = d
	}
}

func (v *visit) event(kind, reason, action, note string) {
	v.notices = append(v.notices, notice{kind: kind, reason: reason, action: action, note: note})
}

// eventOnBoth is for what people look for at the workload.
func (v *visit) eventOnBoth(kind, reason, action, note string) {
	v.notices = append(v.notices, notice{kind: kind, reason: reason, action: action, note: note, workload: true})
}

// save writes the status if it changed, and has it acknowledged: it fails if
// the Session was changed by anybody since it was read. Then it sends the
// events of what is now written.
func (v *visit) save(ctx context.Context) error {
	if !v.gone && !equality.Semantic.DeepEqual(v.saved, &v.session.Status) {
		wanted := v.session.Status.DeepCopy()
		if err := v.Writer.Status().Update(ctx, v.session, client.FieldOwner(hold.FieldManager)); err != nil {
			// Deleted before there was a finalizer on it: nothing was begun.
			v.gone = apierrors.IsNotFound(err)
			return fmt.Errorf("saving the status: %w", err)
		}
		v.at = time.Now()
		v.session.Status = *wanted
		v.saved = wanted.DeepCopy()
	}
	for _, n := range v.notices {
		v.send(n)
	}
	v.notices = nil
	v.Metrics.observe(v.key(), v.session)
	return nil
}

func (v *visit) send(n notice) {
	if v.Events == nil {
		return
	}
	note := cut(n.note, maxNote)
	v.Events.Eventf(v.session, nil, n.kind, n.reason, n.action, "%s", note)
	if !n.workload {
		return
	}
	target := v.session.Spec.Target
	ref := &corev1.ObjectReference{Namespace: v.session.Namespace, Name: target.Name, UID: target.UID}
	if kind, ok := v.kinds().For(groupResource(target)); ok {
		ref.APIVersion, ref.Kind = kind.Kind().ToAPIVersionAndKind()
	}
	if v.object != nil {
		ref.UID = v.object.GetUID()
	}
	if v.onNode() {
		ref.APIVersion, ref.Kind = "v1", "Pod"
	}
	v.Events.Eventf(ref, nil, n.kind, n.reason, n.action, "%s", cut(fmt.Sprintf("Session %s of %s: %s", v.session.Name, v.session.Spec.Owner.Username, n.note), maxNote))
}

// The API server takes no longer notes of events and messages of conditions,
// in bytes; a status with one that it does not take would never be saved.
const (
	maxNote    = 1024
	maxMessage = 32768
)

// cut shortens a text to a number of bytes, between two characters.
func cut(text string, most int) string {
	const dots = "…"
	if len(text) <= most {
		return text
	}
	end := most - len(dots)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + dots
}

// mostNamed is how many names people are given.
const mostNamed = 10

// named lists names for people to read: of many the first and how many more.
func named(names []string, separator string) string {
	if len(names) <= mostNamed {
		return strings.Join(names, separator)
	}
	return strings.Join(names[:mostNamed], separator) + separator + fmt.Sprintf("and %d more", len(names)-mostNamed)
}

func groupResource(target v1alpha1.Target) schema.GroupResource {
	return schema.GroupResource{Group: target.Group, Resource: target.Resource}
}

func (v *visit) scalesDown() bool { return v.session.Spec.Takeover == v1alpha1.TakeoverScaleDown }

func (v *visit) leaseDuration() time.Duration {
	if s := v.session.Spec.LeaseDurationSeconds; s > 0 {
		return time.Duration(s) * time.Second
	}
	return v1alpha1.DefaultLeaseDuration
}

// targetName is the target as people write it: "deployment worker".
func (v *visit) targetName() string {
	target := v.session.Spec.Target
	if kind, ok := v.kinds().For(groupResource(target)); ok {
		return strings.ToLower(kind.Kind().Kind) + " " + target.Name
	}
	return target.Resource + " " + target.Name
}
