package cluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
)

// Resources that have no client of their own where another user asks.
var (
	leaseResource  = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	podResource    = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// Sessions lists the sessions of a namespace.
func (c *Cluster) Sessions(ctx context.Context, namespace string) ([]understudy.Session, error) {
	list, err := c.Dynamic.Resource(understudy.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing sessions in %s: %w", namespace, err)
	}
	sessions := make([]understudy.Session, len(list.Items))
	for i, item := range list.Items {
		if sessions[i], err = read(&item); err != nil {
			return nil, err
		}
	}
	return sessions, nil
}

// SessionUntil waits until the namespace's only session has nothing that wanted
// objects to.
func (c *Cluster) SessionUntil(ctx context.Context, namespace string, wanted func(understudy.Session) error) (understudy.Session, error) {
	var last understudy.Session
	err := Until(ctx, func(ctx context.Context) error {
		sessions, err := c.Sessions(ctx, namespace)
		if err != nil {
			return err
		}
		if len(sessions) != 1 {
			return fmt.Errorf("there are %d sessions", len(sessions))
		}
		last = sessions[0]
		return wanted(last)
	})
	if err != nil {
		return last, fmt.Errorf("waiting for the session in %s: %w", namespace, err)
	}
	return last, nil
}

// HasCondition is for SessionUntil: the condition is True.
func HasCondition(kind string) func(understudy.Session) error {
	return func(s understudy.Session) error {
		if meta.IsStatusConditionTrue(s.Status.Conditions, kind) {
			return nil
		}
		if c := meta.FindStatusCondition(s.Status.Conditions, kind); c != nil {
			return fmt.Errorf("%s is %s: %s: %s", kind, c.Status, c.Reason, c.Message)
		}
		return fmt.Errorf("%s is not known", kind)
	}
}

// FollowSessions sends every state of every session of the namespace that the
// API server tells of, until the context ends.
func (c *Cluster) FollowSessions(ctx context.Context, namespace string) (<-chan understudy.Session, error) {
	w, err := c.Dynamic.Resource(understudy.Resource).Namespace(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("following sessions in %s: %w", namespace, err)
	}
	states := make(chan understudy.Session)
	go func() {
		defer close(states)
		defer w.Stop()
		for event := range w.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			s, err := read(object)
			if err != nil {
				continue // not a session
			}
			select {
			case states <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	return states, nil
}

func read(object *unstructured.Unstructured) (understudy.Session, error) {
	var s understudy.Session
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &s); err != nil {
		return s, fmt.Errorf("reading session %s: %w", object.GetName(), err)
	}
	return s, nil
}
