package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// List reads the namespace's sessions, or those of all namespaces where the
// Client's is empty, in the order of namespaces and names. The version is what a
// watch goes on from. The error is a *failure.Failure when they may not be read.
func (c *Client) List(ctx context.Context) (sessions []v1alpha1.Session, version string, err error) {
	list, err := c.sessions.List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, "", ErrNotInstalled
	case apierrors.IsForbidden(err) && c.Namespace == "":
		return nil, "", &failure.Failure{What: "you may not read the sessions of all namespaces", Hint: "name one that is yours with -n", Err: err}
	case apierrors.IsForbidden(err):
		return nil, "", &failure.Failure{What: "you may not read the sessions of namespace " + c.Namespace, Hint: target.UserRole(c.Namespace), Err: err}
	case err != nil:
		return nil, "", fmt.Errorf("listing sessions: %w", err)
	}
	for i := range list.Items {
		named(&list.Items[i])
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.Session) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return list.Items, list.ResourceVersion, nil
}

// named says what the object is, which a typed client leaves out.
func named(s *v1alpha1.Session) {
	s.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session"}
}

const (
	// askMost is how many Leases are asked for one by one where they may not be
	// listed, askTogether how many of them at a time.
	askMost     = 50
	askTogether = 8
)

// Heard says when each session's owner was heard of last, as far as this user
// may know: by their Leases, which are listed, or asked for one by one by who
// may read only their own.
func (c *Client) Heard(ctx context.Context, sessions []v1alpha1.Session) (map[types.UID]time.Time, error) {
	heard := map[types.UID]time.Time{}
	if len(sessions) == 0 {
		return heard, nil
	}
	of := map[string]types.UID{}
	for i := range sessions {
		of[sessions[i].Namespace+"/"+sessions[i].Name] = sessions[i].UID
	}
	if len(sessions) > 1 {
		list, err := c.steady.CoordinationV1().Leases(c.Namespace).List(ctx, metav1.ListOptions{})
		if err == nil {
			for i := range list.Items {
				lease := &list.Items[i]
				if uid, ok := of[lease.Namespace+"/"+lease.Name]; ok && lease.Spec.RenewTime != nil && ownedBy(lease, uid) {
					heard[uid] = lease.Spec.RenewTime.Time
				}
			}
			return heard, nil
		}
		if !apierrors.IsForbidden(err) {
			return heard, fmt.Errorf("listing leases: %w", short(err))
		}
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askTogether)
	for i := range min(len(sessions), askMost) {
		s := &sessions[i]
		group.Go(func() error {
			lease, err := c.steady.CoordinationV1().Leases(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
			if err == nil && lease.Spec.RenewTime != nil && ownedBy(lease, s.UID) {
				mu.Lock()
				defer mu.Unlock()
				heard[s.UID] = lease.Spec.RenewTime.Time
			}
			return nil // not there, or not for this user
		})
	}
	return heard, group.Wait()
}

func ownedBy(object metav1.Object, uid types.UID) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.UID == uid })
}

// LookFor is how long one watch lasts for a person who looks on.
const LookFor = 5 * time.Minute

// Watch tells of every change of the sessions from a version on, which List
// gave, until ctx is done. A session that is gone is told with gone. The error
// is nil when the API server ends the watch: then List begins anew.
func (c *Client) Watch(ctx context.Context, version string, tell func(s *v1alpha1.Session, gone bool) error) error {
	seconds := int64(LookFor / time.Second)
	watching, err := c.sessions.Watch(ctx, metav1.ListOptions{ResourceVersion: version, TimeoutSeconds: &seconds})
	if err != nil {
		return fmt.Errorf("watching sessions: %w", err)
	}
	defer watching.Stop()
	for event := range watching.ResultChan() {
		s, ok := event.Object.(*v1alpha1.Session)
		if !ok {
			return nil // an error of the watch's, as a version that is too old
		}
		named(s)
		if err := tell(s, event.Type == "DELETED"); err != nil {
			return err
		}
	}
	return ctx.Err()
}
