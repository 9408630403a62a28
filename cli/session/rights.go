package session

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Rights are what a user may do in one namespace, as one question gets them.
type Rights struct {
	rules []authorizationv1.ResourceRule
	// incomplete: the cluster's authorizer cannot tell all of them.
	incomplete bool
}

// Rights asks the API server for all that the user may do in a namespace.
func (c *Client) Rights(ctx context.Context, namespace string) (Rights, error) {
	review, err := c.Kube.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		return Rights{}, fmt.Errorf("asking the API server what you may do in namespace %s: %w", namespace, err)
	}
	return Rights{rules: review.Status.ResourceRules, incomplete: review.Status.Incomplete}, nil
}

// Allow says whether a rule allows the verb on the object. Where none does the
// answer is known only if sure is true.
func (r Rights) Allow(verb, group, resource, name string) (allowed, sure bool) {
	has := func(list []string, what string) bool {
		return slices.Contains(list, what) || slices.Contains(list, "*")
	}
	for _, rule := range r.rules {
		if has(rule.Verbs, verb) && has(rule.APIGroups, group) && has(rule.Resources, resource) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, name)) {
			return true, true
		}
	}
	return false, !r.incomplete
}

// Allowed asks about one verb on one object; on all of a kind for an empty name,
// and in all namespaces for an empty one.
func (c *Client) Allowed(ctx context.Context, verb, namespace, group, resource, name string) (bool, error) {
	review, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: resource, Name: name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking the API server whether you may %s %s: %w", verb, resource, err)
	}
	return review.Status.Allowed, nil
}

// Right is one that somebody needs, on all objects of a kind.
type Right struct {
	Verb, Namespace string
	Group, Resource string
	Subresource     string
}

// String is as kubectl auth can-i takes it.
func (r Right) String() string {
	if r.Subresource != "" {
		return r.Verb + " " + r.Resource + "/" + r.Subresource
	}
	return r.Verb + " " + r.Resource
}

// Missing are those of the rights that the user lacks.
func (c *Client) Missing(ctx context.Context, rights []Right) ([]Right, error) {
	lacks := make([]bool, len(rights))
	group, ctx := errgroup.WithContext(ctx)
	for i, r := range rights {
		group.Go(func() error {
			review, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("asking the API server whether you may %s: %w", r, err)
			}
			lacks[i] = !review.Status.Allowed
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var missing []Right
	for i, r := range rights {
		if lacks[i] {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

// Unknown are the rights of somebody of whom the cluster did not tell.
var Unknown = Rights{incomplete: true}
