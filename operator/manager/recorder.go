package manager

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// eventsWaiting is how many events may wait to be written. What happens beyond
	// that is in the Sessions' conditions and in the log.
	eventsWaiting = 4096
	// eventsAbreast is how many are written at the same time.
	eventsAbreast = 4
	// eventTries is how often one is tried that the API server is too busy for, and
	// eventTryAfter how long after the try before.
	eventTries    = 5
	eventTryAfter = 2 * time.Second
	// repeatsFor is for how long the same event again is a repetition, and
	// repeatEvery how rarely the number of repetitions is written.
	repeatsFor  = 6 * time.Minute
	repeatEvery = 5 * time.Second
	// longestName is how much of an object's name is in that of its event.
	longestName = 200
	// eventsLate is for how long an event lets something better be done first, and
	// lookEvery how often it is asked whether there is.
	eventsLate = time.Minute
	lookEvery  = 100 * time.Millisecond
)

// recorder writes events to the API server, in the order of their coming and a few
// at a time. client-go's own has a goroutine and a request for each as it comes, and
// keeps each for six minutes: when a thousand sessions end at once that is thousands
// of requests between the restores, and a fifth of the operator's memory.
type recorder struct {
	client client.Client
	// instance is who reports.
	instance string
	// busy says that there is something better to do; nil is never.
	busy   func() bool
	log    logr.Logger
	waits  chan *happening
	repeat repeats
}

// happening is an event that waits, which is a fraction of what an Event takes.
type happening struct {
	at                        metav1.MicroTime
	eventType, reason, action string
	note                      string
	about, related            *corev1.ObjectReference
}

// event is what is written of it.
func (h *happening) event(instance string) *eventsv1.Event {
	name := h.about.Name[:min(len(h.about.Name), longestName)]
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", strings.TrimRight(name, ".-"), h.at.UnixNano()), Namespace: h.about.Namespace},
		EventTime:  h.at, ReportingController: Name, ReportingInstance: instance,
		Type: h.eventType, Reason: h.reason, Action: h.action, Note: h.note, Regarding: *h.about, Related: h.related,
	}
	if event.Namespace == "" {
		event.Namespace = metav1.NamespaceDefault
	}
	return event
}

var _ events.EventRecorder = &recorder{}

func newRecorder(c client.Client, busy func() bool, log logr.Logger) *recorder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &recorder{client: c, instance: Name + "-" + host, busy: busy, log: log, waits: make(chan *happening, eventsWaiting), repeat: repeats{seed: maphash.MakeSeed()}}
}

// Eventf implements events.EventRecorder. It never waits.
func (r *recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	about, err := reference.GetReference(r.client.Scheme(), regarding)
	if err != nil {
		r.log.Error(err, "an event about nothing", "reason", reason)
		return
	}
	h := &happening{at: metav1.NowMicro(), eventType: eventType, reason: reason, action: action, note: fmt.Sprintf(note, args...), about: about}
	if related != nil {
		h.related, _ = reference.GetReference(r.client.Scheme(), related)
	}
	select {
	case r.waits <- h:
	default:
		r.log.Info("too many events wait to be written; this one is not", "reason", reason, "about", about.Name, "note", h.note)
	}
}

// NeedLeaderElection is asked by the manager: who does not lead has nothing to say.
func (r *recorder) NeedLeaderElection() bool { return true }

// Start writes events until ctx ends.
func (r *recorder) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range eventsAbreast {
		group.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case h := <-r.waits:
					r.yield(ctx, h.at.Time)
					r.write(ctx, h.event(r.instance))
				}
			}
		})
	}
	group.Wait()
	return nil
}

// yield has what happened at that time wait while there is something better to do.
func (r *recorder) yield(ctx context.Context, at time.Time) {
	for ctx.Err() == nil && r.busy != nil && time.Since(at) < eventsLate && r.busy() {
		pause(ctx, lookEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// write writes one event, or that it has happened again.
func (r *recorder) write(ctx context.Context, event *eventsv1.Event) {
	first, count, due := r.repeat.seen(event)
	if !due {
		return
	}
	for try := 1; ; try++ {
		var err error
		if count > 1 {
			err = r.again(ctx, first, event, count)
		}
		if count == 1 || apierrors.IsNotFound(err) {
			// The first one was never written, or is gone.
			err = r.client.Create(ctx, event)
			r.repeat.rename(event)
		}
		switch {
		case err == nil, ctx.Err() != nil, apierrors.IsAlreadyExists(err):
			return
		case passes(err) && try < eventTries:
			pause(ctx, eventTryAfter)
			continue
		}
		// As in a namespace that is being deleted.
		r.repeat.forget(event)
		r.log.Info("an event is not written", "reason", event.Reason, "about", event.Regarding.Name, "note", event.Note, "err", err.Error())
		return
	}
}

// again writes how often an event has happened.
func (r *recorder) again(ctx context.Context, first string, event *eventsv1.Event, count int32) error {
	was := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: event.Namespace, Name: first}}
	patch := fmt.Appendf(nil, `{"series":{"count":%d,"lastObservedTime":%q}}`, count, event.EventTime.UTC().Format(metav1.RFC3339Micro))
	return r.client.Patch(ctx, was, client.RawPatch("application/merge-patch+json", patch))
}

// passes says whether an error is one of the moment: an API server that is busy or
// away.
func passes(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsInternalError(err) ||
		apierrors.ReasonForError(err) == metav1.StatusReasonUnknown
}

// repeats knows the events of the last minutes by a hash, so that one that happens
// again and again is one object with a number.
type repeats struct {
	seed maphash.Seed

	mu sync.Mutex
	of map[uint64]*repeat
}

type repeat struct {
	name          string
	count         int32
	last, written time.Time
}

// key is the same for events that are the same but for their time.
func (r *repeats) key(event *eventsv1.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, text := range []string{string(event.Regarding.UID), event.Regarding.Kind, event.Namespace, event.Regarding.Name, event.Type, event.Reason, event.Action, event.Note} {
		_, _ = h.WriteString(text)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// rename has an event be the one whose repetitions are counted.
func (r *repeats) rename(event *eventsv1.Event) {
	key := r.key(event)
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.of[key]; one != nil {
		one.name = event.Name
	}
}

// forget has the next one be the first again.
func (r *repeats) forget(event *eventsv1.Event) {
	key := r.key(event)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, key)
}

// seen notes an event, and answers the name of the first one, how often it has
// happened, and whether that is to be written now.
func (r *repeats) seen(event *eventsv1.Event) (first string, count int32, due bool) {
	key, now := r.key(event), event.EventTime.Time
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.of[key]
	if one == nil || now.Sub(one.last) >= repeatsFor {
		for old, other := range r.of {
			if now.Sub(other.last) >= repeatsFor {
				delete(r.of, old)
			}
		}
		if r.of == nil {
			r.of = map[uint64]*repeat{}
		}
		r.of[key] = &repeat{name: event.Name, count: 1, last: now, written: now}
		return event.Name, 1, true
	}
	one.count++
	one.last = now
	if one.count > 2 && now.Sub(one.written) < repeatEvery {
		return one.name, one.count, false
	}
	one.written = now
	return one.name, one.count, true
}
