package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fault is one way in which something goes wrong between the operator and the
// API server.
type fault string

const (
	noFault        fault = ""
	killedBefore   fault = "operator killed before the request"
	killedAfter    fault = "operator killed between success and reply"
	requestLost    fault = "connection refused"
	replyLost      fault = "done, and the reply lost"
	timedOut       fault = "done, and no answer in time"
	conflicted     fault = "409 conflict"
	tooMany        fault = "429 too many requests"
	internalError  fault = "500 internal error"
	killedBetween  fault = "operator killed between two steps"
	clockForward   fault = "the next operator's clock an hour ahead"
	clockBackwards fault = "the next operator's clock an hour behind"
)

// requestFaults are those that befall one request.
var requestFaults = []fault{killedBefore, killedAfter, requestLost, replyLost, timedOut, conflicted, tooMany, internalError}

var errLost = errors.New("the connection is gone")

// attempt is one request that the operator is about to make.
type attempt struct {
	// step of the reconciler that makes it; empty is none: reading the Session,
	// saving its status at the end.
	step string
	// method and what: PATCH deployments, PUT sessions/status.
	method, what string
}

func (a attempt) writes() bool { return a.method != http.MethodGet }

// may says whether a fault can befall it: only updates meet conflicts.
func (a attempt) may(f fault) bool {
	return f != conflicted || a.method == http.MethodPut || a.method == http.MethodPatch
}

func (a attempt) String() string {
	if a.step == "" {
		return "begin: " + a.method + " " + a.what
	}
	return a.step + ": " + a.method + " " + a.what
}

// faults stands between one operator after the other and the API server. It is a
// transport: what is above it is the real client, with its own retries.
type faults struct {
	next http.RoundTripper
	// decide says what befalls a request.
	decide func(attempt) fault
	// between says whether the operator dies before a step; nil is never.
	between func(step string) bool
	// wrote looks at the cluster after each write that was done: it is what there
	// would be if the operator died now. Nil does not look.
	wrote func(attempt)

	mu   sync.Mutex
	dead bool
	met  []string
}

// stepKey is where a request's context says which step makes it.
type stepKey struct{}

// faultsKey is where a reconciliation's context says whose faults it meets.
type faultsKey struct{}

// The lists of steps have a fail point before each step, in tests alone.
func init() {
	for _, steps := range [][]step{setUp, undo, setUpFrozen, undoFrozen} {
		for i, s := range steps {
			steps[i].do = func(ctx context.Context, v *visit) (bool, error) {
				if f, _ := ctx.Value(faultsKey{}).(*faults); f != nil && f.between != nil && f.between(s.name) {
					f.die(string(killedBetween) + ": before " + s.name)
					return false, errCut
				}
				return s.do(context.WithValue(ctx, stepKey{}, s.name), v)
			}
		}
	}
}

func (f *faults) die(how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
	f.met = append(f.met, how)
}

// revive lets the next operator make requests; it answers whether one died.
func (f *faults) revive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	died := f.dead
	f.dead = false
	return died
}

// RoundTrip implements http.RoundTripper.
func (f *faults) RoundTrip(request *http.Request) (*http.Response, error) {
	f.mu.Lock()
	dead := f.dead
	f.mu.Unlock()
	if dead {
		return nil, errCut
	}
	a := attempt{method: request.Method, what: resourceOf(request.URL.Path)}
	a.step, _ = request.Context().Value(stepKey{}).(string)
	befalls := f.decide(a)
	if !a.may(befalls) {
		befalls = noFault
	}
	if befalls == noFault {
		return f.let(a, request)
	}
	how := string(befalls) + ": " + a.String()
	switch befalls {
	case killedBefore:
		f.die(how)
		return nil, errCut
	case killedAfter:
		f.perform(a, request)
		f.die(how)
		return nil, errCut
	}
	f.mu.Lock()
	f.met = append(f.met, how)
	f.mu.Unlock()
	switch befalls {
	case replyLost:
		f.perform(a, request)
		return nil, errLost
	case timedOut:
		f.perform(a, request)
		return nil, context.DeadlineExceeded
	case conflicted:
		return refusal(request, http.StatusConflict, metav1.StatusReasonConflict)
	case tooMany:
		return refusal(request, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
	case internalError:
		return refusal(request, http.StatusInternalServerError, metav1.StatusReasonInternalError)
	}
	return nil, errLost
}

// let makes the request.
func (f *faults) let(a attempt, request *http.Request) (*http.Response, error) {
	response, err := f.next.RoundTrip(request)
	if err == nil && a.writes() && f.wrote != nil {
		f.wrote(a)
	}
	return response, err
}

// perform makes the request, and throws the reply away.
func (f *faults) perform(a attempt, request *http.Request) {
	if response, err := f.let(a, request); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

func refusal(request *http.Request, code int, reason metav1.StatusReason) (*http.Response, error) {
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "a fault that the test has made",
	})
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}, err
}

// resourceOf names what a path is about: deployments, sessions/status.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	skip := 2 // api, v1
	if parts[0] == "apis" {
		skip = 3
	}
	parts = parts[min(skip, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) == 3 {
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}

// reach makes a client whose every request goes through the faults.
func (f *faults) reach(w *world) client.WithWatch {
	w.t.Helper()
	c, err := client.NewWithWatch(w.config, client.Options{Scheme: w.Scheme(), Mapper: w.RESTMapper(), HTTPClient: &http.Client{Transport: f}})
	w.must(err)
	return c
}

// left are the objects of sessions that nobody will take away: what belongs to a
// Session that is gone is the garbage collector's.
func (w *world) left(kinds ...client.ObjectList) []string {
	w.t.Helper()
	var found []string
	for _, list := range kinds {
		w.must(w.List(w.ctx, list, client.InNamespace(w.namespace), client.HasLabels{"understudy.dev/session"}))
		w.must(eachOf(list, func(object client.Object) {
			if !slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.Kind == "Session" }) {
				found = append(found, object.GetName())
			}
		}))
	}
	return found
}
