package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// oldestMinor is the oldest Kubernetes, 1.30, that the operator runs on.
	oldestMinor = 30
	// holdMinor is the first, 1.36, in which a policy keeps a held workload's pods
	// from starting; before it they are scaled down again.
	holdMinor = 36
)

// Cluster looks at the cluster, for a client of the version release. It ends
// with the first thing without which nothing else can be known; explain makes an
// error of the way to the API server one for a person.
func Cluster(ctx context.Context, client *session.Client, release string, explain func(error) error) []Finding {
	server, reached := kubernetes(ctx, client, explain)
	if !reached {
		return []Finding{server}
	}
	findings := []Finding{server}
	who := Finding{Of: "you", State: OK}
	username, err := client.Username(ctx)
	who.Says = username
	if err != nil {
		return append(findings, bad("you", explain(err)))
	}
	findings = append(findings, who)
	operator, err := client.Operator(ctx)
	switch {
	case err == nil:
		findings = append(findings, skew(operator, release), policies(ctx, client), running(ctx, client))
	case client.Installed(ctx) != nil:
		return append(findings, bad("operator", explain(err)))
	default:
		findings = append(findings, bad("operator", explain(err)))
	}
	// Rights there may be even where the namespace is not.
	if missing := client.NoNamespace(ctx); missing != nil {
		return append(findings, bad("namespace", missing))
	}
	return append(findings, rights(ctx, client))
}

// bad is the Problem that an error tells of.
func bad(of string, err error) Finding {
	return Finding{Of: of, State: Problem, Says: err.Error(), Do: failure.Hint(err)}
}

func kubernetes(ctx context.Context, client *session.Client, explain func(error) error) (f Finding, reached bool) {
	raw, err := client.Kube.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	var info version.Info
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	if err != nil {
		return bad("cluster", explain(err)), false
	}
	return aged(info), true
}

func aged(info version.Info) Finding {
	f := Finding{Of: "cluster", State: OK, Says: "Kubernetes " + info.GitVersion}
	minor, err := strconv.Atoi(strings.TrimRight(info.Minor, "+"))
	switch {
	case err != nil:
		f.State = Unknown
	case minor < oldestMinor:
		f.State, f.Do = Problem, fmt.Sprintf("the operator needs Kubernetes 1.%d or newer", oldestMinor)
	case minor < holdMinor:
		f.State, f.Do = Warning, fmt.Sprintf("from 1.%d on a held workload is kept at 0 by a policy; before it, what somebody scales up is scaled down again", holdMinor)
	}
	return f
}

// skew compares the operator with this program.
func skew(operator session.Operator, release string) Finding {
	f := Finding{Of: "operator", State: OK, Says: operator.String() + "; this is " + release}
	if other := operator.Skew(release); other != "" {
		f.State, f.Says, f.Do = Warning, operator.String()+"; "+other, session.SkewHint
	}
	return f
}

// policies looks for the binding without which a policy does nothing.
func policies(ctx context.Context, client *session.Client) Finding {
	f := Finding{Of: "policies", State: OK, Says: "the admission policy understudy-sessions is there, and bound"}
	_, err := client.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, "understudy-sessions", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		f.State, f.Says = Problem, "the admission policy understudy-sessions is bound to nothing: the operator refuses to act"
		f.Do = "an administrator repairs it with helm upgrade"
	case apierrors.IsForbidden(err):
		f.Says = "the admission policy understudy-sessions is there; whether it is bound you may not read, the operator refuses to act where not"
	case err != nil:
		f.State, f.Says = Unknown, err.Error()
	}
	return f
}

// running looks for the operator's pods, which most users may not.
func running(ctx context.Context, client *session.Client) Finding {
	f := Finding{Of: "operator's pods", State: OK}
	pods, err := client.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=understudy"})
	switch {
	case apierrors.IsForbidden(err):
		f.State, f.Says = Unknown, "you may not see them: that is usual"
		return f
	case err != nil:
		f.State, f.Says = Unknown, err.Error()
		return f
	}
	ready := 0
	for i := range pods.Items {
		for _, c := range pods.Items[i].Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	f.Says = fmt.Sprintf("%d ready of %d", ready, len(pods.Items))
	if ready == 0 {
		f.State, f.Do = Problem, "look with: kubectl get pods -A -l app.kubernetes.io/name=understudy"
	}
	return f
}

// rights looks at what the user may do in the namespace.
func rights(ctx context.Context, client *session.Client) Finding {
	f := Finding{Of: "rights", State: OK}
	got, err := client.Rights(ctx, client.Namespace)
	if err != nil {
		f.State, f.Says = Unknown, err.Error()
		return f
	}
	var missing []string
	unsure := false
	need := func(verb, group, resource string) bool {
		allowed, sure := got.Allow(verb, group, resource, "")
		unsure = unsure || !allowed && !sure
		return allowed
	}
	for _, verb := range []string{"create", "get", "list", "watch", "delete"} {
		if !need(verb, v1alpha1.GroupVersion.Group, v1alpha1.Resource.Resource) {
			missing = append(missing, verb+" sessions")
		}
	}
	if !need("get", "apps", "deployments") {
		missing = append(missing, "get deployments")
	}
	if !need("get", "", "pods") {
		missing = append(missing, "get pods")
	}
	if !need(session.VerbTakeover, "apps", "deployments") {
		missing = append(missing, "takeover of every deployment (of some you may all the same: understudy ls)")
	}
	switch {
	case len(missing) == 0:
		f.Says = "you may run sessions in namespace " + client.Namespace
	case unsure:
		f.State, f.Says = Unknown, "this cluster cannot tell all of your rights in namespace "+client.Namespace
	default:
		f.State = Problem
		if len(missing) == 1 && strings.HasPrefix(missing[0], session.VerbTakeover) {
			f.State = Warning
		}
		f.Says = "you lack in namespace " + client.Namespace + ": " + strings.Join(missing, ", ")
		f.Do = target.UserRole(client.Namespace)
	}
	return f
}
