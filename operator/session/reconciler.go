package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// DefaultKeepFinal is how long a session that ended by itself is kept.
const DefaultKeepFinal = 10 * time.Minute

// Agent says what stand-ins run.
type Agent struct {
	// Image reference of the agent; required.
	Image string
	// PullPolicy of that image; empty leaves it to the API server.
	PullPolicy corev1.PullPolicy
	// Delivery; empty is DeliveryAuto.
	Delivery Delivery
	// PriorityClass of agents that only thaw, where they are let have it; empty for
	// none. For one that freezes nobody else's pod is to go.
	PriorityClass string
}

// Reconciler brings Sessions to what they ask for, and workloads back to what
// they were.
type Reconciler struct {
	// Live reads from the API server, never from a cache.
	Live client.Reader
	// Writer writes to it.
	Writer client.Client
	// Events on the Session and on its workload.
	Events events.EventRecorder
	// Kinds of workloads that can be held; nil is all that are known.
	Kinds hold.Kinds
	// Flux has what it owns marked, so that it leaves it alone, while it is held.
	Flux bool
	// ArgoCD are the namespaces of the Applications of Argo CD whose automated sync
	// may be switched off for the time; the first is Argo CD's own. With none it is
	// not.
	ArgoCD []string
	// Agent is what stand-ins run.
	Agent Agent
	// AgentsNamespace is where agents on nodes are made; empty lets nothing be
	// frozen.
	AgentsNamespace string
	// PolicyName is the name of the ValidatingAdmissionPolicy, and of its
	// binding, without which nothing is done.
	PolicyName string
	// PolicyLag is how long after its creation that policy counts as not yet in
	// force; 0 is 3 s.
	PolicyLag time.Duration
	// KeepFinal is how long a session that ended by itself is kept, so that its
	// owner and other people can read why; 0 is DefaultKeepFinal.
	KeepFinal time.Duration
	// Hearing counts the silence of the sessions' owners.
	Hearing *Hearing
	// Pods watches the pods of workloads that are being brought to zero.
	Pods *PodWatches
	// Metrics that are counted; nil counts into nowhere.
	Metrics *Metrics
	// Now is the API server's clock, by which objects and statuses have their
	// times, carried on from the operator's start; nil is time.Now.
	Now func() time.Time

	// brakes of sessions whose workload is written over again and again.
	brakes brakes
	// returns are the numbers that are to be put back, and kept the Sessions of those.
	returns returns
	kept    kept
	// targets watches the workloads of sessions that are not in the cache; made
	// by AddTo.
	targets *targetWatches
}

// step is one part of the work. proceed is false when it waits for something,
// which it has then said in a condition and asked to be woken for.
type step struct {
	name string
	do   func(context.Context, *visit) (proceed bool, err error)
}

var setUp = []step{
	{"limits", limits},
	{"policy", policy},
	{"resolve", resolve},
	{"queue", queue},
	{"enlist", enlist},
	{"record", record},
	{"claim", claim},
	{"keep", keep},
	{"lease", lease},
	{"stand-in", standIn},
	{"take", take},
	{"old pods", oldPods},
	{"ready", ready},
}

var undo = []step{
	{"unready", unready},
	{"dismiss", dismiss},
	{"restore", restore},
	{"retire", retire},
}

// finalError ends a session: what is wrong will not heal by trying again.
type finalError struct {
	reason  string
	message string
	// absent says that the cluster has no such kind, and so none of its objects.
	absent bool
}

func (e *finalError) Error() string { return e.reason + ": " + e.message }

func final(reason, format string, args ...any) error {
	return &finalError{reason: reason, message: fmt.Sprintf(format, args...)}
}

// finalReasons of the Ready condition end a session for good.
var finalReasons = map[string]bool{
	v1alpha1.ReasonTargetNotFound:        true,
	v1alpha1.ReasonTargetReplaced:        true,
	v1alpha1.ReasonTargetControlled:      true,
	v1alpha1.ReasonTargetUnsupported:     true,
	v1alpha1.ReasonContainerNotFound:     true,
	v1alpha1.ReasonHoldRefused:           true,
	v1alpha1.ReasonHeldByAnother:         true,
	v1alpha1.ReasonRecordUnreadable:      true,
	v1alpha1.ReasonPolicyMissing:         true,
	v1alpha1.ReasonStandInRefused:        true,
	v1alpha1.ReasonFreezeUnsupported:     true,
	v1alpha1.ReasonFreezeFailed:          true,
	v1alpha1.ReasonAttachUnsupported:     true,
	v1alpha1.ReasonAttachFailed:          true,
	v1alpha1.ReasonNodeAgentLost:         true,
	v1alpha1.ReasonTargetEnded:           true,
	v1alpha1.ReasonTargetNotAlone:        true,
	v1alpha1.ReasonSetupDeadlineExceeded: true,
	v1alpha1.ReasonLeaseExpired:          true,
	v1alpha1.ReasonMaxDurationReached:    true,
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if wait := r.returns.wait(request.NamespacedName, time.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait, Priority: ptr.To(wakeForRest)}, nil
	}
	session, at := r.keptOf(request.NamespacedName, time.Now())
	unread := session != nil
	if !unread {
		session = &v1alpha1.Session{}
		if err := r.Live.Get(ctx, request.NamespacedName, session); err != nil {
			if apierrors.IsNotFound(err) {
				r.forget(request.NamespacedName)
				return reconcile.Result{}, nil
			}
			return reconcile.Result{}, fmt.Errorf("reading session %s: %w", request, err)
		}
	}
	v := newVisit(r, session)
	v.at, v.unread = at, unread
	err := v.run(ctx)
	if saveErr := v.save(ctx); err == nil {
		err = saveErr
	}
	switch {
	case err != nil || v.gone:
	case v.unread && !v.ending():
		v.again(0) // and read
	case v.silent || r.returns.owing(v.key(), v.session.UID):
		r.kept.keep(v.session, v.at)
	}
	switch {
	case err == nil:
		result := reconcile.Result{RequeueAfter: v.next, Priority: ptr.To(wakeNow)}
		if v.later {
			result.Priority = ptr.To(wakeForRest)
		}
		return result, nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err) && v.gone:
		// Somebody else wrote in between: look again, at once.
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, err
}

// keptOf answers the Session as the last visit has left it, and since when: of one that
// is over, or is about to be for its owner's silence. Any other is to be read.
func (r *Reconciler) keptOf(key types.NamespacedName, now time.Time) (*v1alpha1.Session, time.Time) {
	session, at := r.kept.take(key, now)
	if session == nil || !r.returns.owing(key, session.UID) && !r.Hearing.Expired(key, session.UID) {
		return nil, now
	}
	return session, at
}

func (v *visit) run(ctx context.Context) error {
	up, down := v.lists()
	if v.unread {
		// That it is over is decided by what was kept, and nothing else of a living one.
		up = []step{{"limits", limits}}
	}
	if !v.ending() {
		err := v.walk(ctx, up)
		var end *finalError
		if err != nil && !errors.As(err, &end) && !v.heard && (v.status().HeldAt != nil || v.status().Agent != nil) {
			// A step before that of the lease fails, perhaps for ever. An owner who has
			// gone is noticed all the same.
			if _, silent := lease(ctx, v); errors.As(silent, &end) {
				err = silent
			}
		}
		if !errors.As(err, &end) {
			return err
		}
		log.FromContext(ctx).Info("session ends", "reason", end.reason, "message", end.message)
		v.conclude(end)
	}
	return v.walk(ctx, down)
}

func (v *visit) walk(ctx context.Context, steps []step) error {
	for _, s := range steps {
		proceed, err := s.do(log.IntoContext(ctx, log.FromContext(ctx).WithValues("step", s.name)), v)
		if err != nil {
			var end *finalError
			if errors.As(err, &end) {
				return err
			}
			v.refused(err)
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if !proceed {
			return nil
		}
	}
	return nil
}

func (r *Reconciler) forget(key client.ObjectKey) {
	r.brakes.forget(key)
	r.returns.done(key)
	r.kept.forget(key)
	r.Pods.Stop(key)
	r.targets.Stop(key)
	r.Hearing.Forget(key)
	r.Metrics.forget(key)
}

// Busy says whether many numbers are to be put back, which come before what may wait.
func (r *Reconciler) Busy() bool { return r.returns.many(time.Now()) }

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Reconciler) kinds() hold.Kinds {
	if r.Kinds != nil {
		return r.Kinds
	}
	return hold.AllKinds()
}

func (r *Reconciler) keepFinal() time.Duration {
	if r.KeepFinal > 0 {
		return r.KeepFinal
	}
	return DefaultKeepFinal
}

func (r *Reconciler) holder() hold.Holder {
	return hold.Holder{API: hold.API{Reader: r.Live, Writer: r.Writer}}
}
