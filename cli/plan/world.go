package plan

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
)

// World is what was asked for, and what is known of the cluster around it.
type World struct {
	// Asked is the configuration; Takeover is what it comes to for this target.
	Asked    *config.Config
	Takeover config.Takeover
	// Target is as it was read; see target.Nothing for none.
	Target *target.Target
	// Here is why no process can be run in its place from this machine, and NoCommand why
	// not the one that was named; nil for nothing.
	Here, NoCommand error
	// Username is who the API server takes the user for.
	Username string
	// Session is the name that a session might have.
	Session string
	// Operator is the one that is installed, as far as it is known.
	Operator session.Operator

	// Installed is why there is no operator, Rights are the rights that are missing.
	Installed error
	Rights    []error
	// Idle is why the one that is installed does nothing; OperatorNot why that is not
	// known.
	Idle        error
	OperatorNot string
	// Alone: no operator makes the agent that freezes, the user does. Stands is then
	// what stands against that; nil for nothing.
	Alone  bool
	Stands error

	// What is in the target's namespace.
	Workloads     Seen[target.Listed]
	Sessions      Seen[v1alpha1.Session]
	Services      Seen[corev1.Service]
	Quotas        Seen[corev1.ResourceQuota]
	LimitRanges   Seen[corev1.LimitRange]
	Claims        Seen[corev1.PersistentVolumeClaim]
	Policies      Seen[networkingv1.NetworkPolicy]
	Budgets       Seen[policyv1.PodDisruptionBudget]
	Autoscalers   Seen[autoscalingv2.HorizontalPodAutoscaler]
	ScaledObjects Seen[unstructured.Unstructured]
	// Namespace is the one itself; at most one.
	Namespace Seen[corev1.Namespace]
	// Nodes are some that meet what the pod asks of one, at least one if there are
	// any; not looked at for a pod that asks for nothing.
	Nodes      Seen[corev1.Node]
	NodesAsked bool
	// Trial is what the API server says of the stand-in, SessionTrial what of the
	// session, HoldTrial what of the target at zero.
	Trial, SessionTrial, HoldTrial Trial

	// standIn is what would be made; nil where none is, or none can be.
	standIn *corev1.Pod
	report  clone.Report
	// impossible is why none can be.
	impossible error
	// noOperator is what was found where one would be.
	noOperator error
}

// Seen are objects of one kind, or why they were not seen.
type Seen[T any] struct {
	Items []T
	// Not says why they could not be looked at: "you may not list resourcequotas";
	// empty when they were.
	Not string
}

// Trial is a dry run by the API server, with the user's rights.
type Trial struct {
	// Taken: it would have been made.
	Taken bool
	// Refused is the API server's refusal; empty for none.
	Refused string
	// Untried says why there was no trial; empty where there was one, and where
	// there is nothing to be tried.
	Untried string
}

// tried says whether the API server itself has judged the stand-in: then nobody
// need guess what it would say.
func (w *World) tried() bool { return w.Trial.Taken || w.Trial.Refused != "" }

func (w *World) scalesDown() bool { return w.Takeover == config.TakeoverScaleDown }
func (w *World) freezes() bool    { return w.Takeover == config.TakeoverFreeze }

// attaches says whether an agent on the node goes beside a pod that runs on.
func (w *World) attaches() bool { return w.Takeover == config.TakeoverNone && !w.Target.None() }

// clones says whether there is a stand-in, or an empty pod.
func (w *World) clones() bool { return !w.freezes() && !w.attaches() }

// holds says whether the target is kept from reading.
func (w *World) holds() bool { return w.scalesDown() || w.freezes() }

// self is the target among the namespace's workloads; nil where it is not.
func (w *World) self() *target.Listed {
	for i := range w.Workloads.Items {
		if w.Workloads.Items[i].UID == w.Target.UID {
			return &w.Workloads.Items[i]
		}
	}
	return nil
}

// spec is the target's pods', as they are.
func (w *World) spec() *corev1.PodSpec {
	switch {
	case w.Target.Template != nil:
		return &w.Target.Template.Spec
	case w.Target.Pod != nil:
		return &w.Target.Pod.Spec
	}
	return nil
}
