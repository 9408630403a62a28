package solo

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
)

// needed are the rights that a freeze without an operator takes.
func (p *Plan) needed() []session.Right {
	var all []session.Right
	for _, verb := range []string{"create", "get", "list", "watch", "delete"} {
		all = append(all, session.Right{Verb: verb, Namespace: p.options.Namespace, Resource: "pods"})
	}
	for _, verb := range []string{"create", "get"} {
		all = append(all, session.Right{Verb: verb, Namespace: p.options.Namespace, Resource: "pods", Subresource: "portforward"})
	}
	for _, verb := range []string{"create", "delete"} {
		all = append(all, session.Right{Verb: verb, Namespace: p.options.Namespace, Resource: "secrets"})
	}
	return append(all, session.Right{Verb: "list", Namespace: p.client.Namespace, Resource: "services"})
}

// rights fails unless the user has all of them, and names each that is missing.
func (p *Plan) rights(ctx context.Context) error {
	missing, err := p.client.Missing(ctx, p.needed())
	if err != nil || len(missing) == 0 {
		return err
	}
	var names, where []string
	for _, right := range missing {
		names = append(names, right.String())
		where = append(where, fmt.Sprintf("kubectl auth can-i %s -n %s", strings.Replace(right.String(), "/", " --subresource=", 1), right.Namespace))
	}
	in := "in namespace " + missing[0].Namespace
	if missing[0].Namespace != missing[len(missing)-1].Namespace {
		in = fmt.Sprintf("in namespaces %s and %s", missing[0].Namespace, missing[len(missing)-1].Namespace)
	}
	return failure.New("an administrator grants them (docs/thaw.md has the role, and what it amounts to), or installs the operator, which asks for none of them; each is asked about as in:\n"+where[0],
		"freezing a pod without an operator takes rights that you lack %s: %s", in, strings.Join(names, ", "))
}

// isPodSecurity says whether Pod Security was what said no: the API server has no
// reason of its own for that.
func isPodSecurity(status apierrors.APIStatus) bool {
	return status.Status().Code == 403 && strings.Contains(status.Status().Message, "violates PodSecurity")
}
