package manager

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/operator/session"
)

// Options are the operator's flags. Each has an environment variable too, from
// which its default is taken: UNDERSTUDY_ and the flag's name in capitals.
type Options struct {
	// AgentImage is what stand-ins run; required.
	AgentImage string
	// AgentPullPolicy of that image; empty leaves it to the API server.
	AgentPullPolicy string
	// AgentDelivery is auto, image or init.
	AgentDelivery string
	// AgentsNamespace is where agents on nodes are made; empty lets nothing be
	// frozen.
	AgentsNamespace string
	// AgentsPriorityClass is what those that only thaw have; empty for none.
	AgentsPriorityClass string
	// Namespace of the operator itself; empty is that of its service account.
	Namespace string
	// LeaderElect lets one of several operators work at a time.
	LeaderElect bool
	// MetricsAddress serves /metrics; "0" serves none.
	MetricsAddress string
	// ProbeAddress serves /healthz and /readyz.
	ProbeAddress string
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// PolicyPrefix is the beginning of the admission policies' names.
	PolicyPrefix string
	// KeepEnded is how long a session that ended by itself is kept to be read.
	KeepEnded time.Duration
	// LeaderIdentity is who this operator is among several; empty is made up
	// and unique. One that outlives the process lets a restarted container go on
	// with its own lease at once.
	LeaderIdentity string
	// CustomWorkloads are the custom resources that may be held, by their scale
	// subresource.
	CustomWorkloads []schema.GroupResource
	// MarkFlux has what Flux owns marked not to be reconciled while it is held.
	MarkFlux bool
	// ArgoCDNamespaces are those of the Applications whose automated sync may be
	// switched off while something of theirs is held; the first is Argo CD's own.
	ArgoCDNamespaces []string
	// Kubeconfig for an operator outside of the cluster; empty is inside.
	Kubeconfig string
}

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ParseOptions reads flags over environment over defaults. An error has been
// said on stderr already when it is flag.ErrHelp.
func ParseOptions(args []string, getenv func(string) string, stderr io.Writer) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("understudy-operator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	text := func(target *string, name, fallback, usage string) {
		if value := getenv("UNDERSTUDY_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))); value != "" {
			fallback = value
		}
		flags.StringVar(target, name, fallback, usage)
	}
	text(&o.AgentImage, "agent-image", "", "image of the agent in stand-ins (required)")
	text(&o.AgentPullPolicy, "agent-image-pull-policy", "", "pull policy of that image: Always, IfNotPresent or Never")
	text(&o.AgentDelivery, "agent-delivery", "auto", "how the agent gets into stand-ins: auto, image (volume) or init (container)")
	text(&o.AgentsNamespace, "agents-namespace", "", "namespace of the privileged agents that freeze pods on their nodes (default: none, and nothing is frozen)")
	text(&o.AgentsPriorityClass, "agents-priority-class", "", "PriorityClass of those agents that only thaw, where it is allowed (default: none)")
	text(&o.Namespace, "namespace", "", "namespace of the operator (default: its service account's)")
	text(&o.MetricsAddress, "metrics-bind-address", ":8080", `address of /metrics; "0" for none`)
	text(&o.ProbeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	text(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	text(&o.PolicyPrefix, "policy-prefix", "understudy", "beginning of the names of the admission policies")
	text(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file, for running outside of the cluster")
	text(&o.LeaderIdentity, "leader-identity", "", "who this operator is in leader election: the pod's name, so that a restarted container leads again at once (default: unique)")
	var keepEnded, custom, argoCD string
	text(&argoCD, "argocd-namespaces", "", "namespaces of the Applications whose automated sync may be switched off while something of theirs is held, separated by commas, Argo CD's own first")
	text(&custom, "custom-workloads", "", "custom resources that may be held, as PLURAL.GROUP, separated by commas")
	text(&keepEnded, "keep-ended", session.DefaultKeepFinal.String(), "how long a session that ended by itself is kept to be read")
	flags.BoolVar(&o.MarkFlux, "mark-flux", getenv("UNDERSTUDY_MARK_FLUX") == "true", "mark what Flux owns not to be reconciled while it is held")
	flags.BoolVar(&o.LeaderElect, "leader-elect", getenv("UNDERSTUDY_LEADER_ELECT") != "false", "let one of several operators work at a time")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if rest := flags.Args(); len(rest) > 0 {
		return o, fmt.Errorf("reading the flags: unexpected argument %q", rest[0])
	}
	if o.Namespace == "" {
		if data, err := os.ReadFile(namespaceFile); err == nil {
			o.Namespace = strings.TrimSpace(string(data))
		}
	}
	for word := range strings.SplitSeq(custom, ",") {
		if word = strings.TrimSpace(word); word != "" {
			o.CustomWorkloads = append(o.CustomWorkloads, schema.ParseGroupResource(word))
		}
	}
	for word := range strings.SplitSeq(argoCD, ",") {
		if word = strings.TrimSpace(word); word != "" {
			o.ArgoCDNamespaces = append(o.ArgoCDNamespaces, word)
		}
	}
	var err error
	if o.KeepEnded, err = time.ParseDuration(keepEnded); err != nil || o.KeepEnded <= 0 {
		err = fmt.Errorf("--keep-ended is %q: a duration as in 10m", keepEnded)
	}
	return o, errors.Join(err, o.validate())
}

func (o *Options) validate() error {
	var wrong []error
	for _, resource := range o.CustomWorkloads {
		if resource.Resource == "" || resource.Group == "" {
			wrong = append(wrong, fmt.Errorf("--custom-workloads has %q: name each as PLURAL.GROUP, as in workers.example.com", resource))
		}
	}
	if o.AgentImage == "" {
		wrong = append(wrong, errors.New("--agent-image is required"))
	}
	switch session.Delivery(o.AgentDelivery) {
	case session.DeliveryAuto, session.DeliveryImage, session.DeliveryInit:
	default:
		wrong = append(wrong, fmt.Errorf("--agent-delivery is %q: one of auto, image, init", o.AgentDelivery))
	}
	switch corev1.PullPolicy(o.AgentPullPolicy) {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		wrong = append(wrong, fmt.Errorf("--agent-image-pull-policy is %q: one of Always, IfNotPresent, Never", o.AgentPullPolicy))
	}
	if _, err := o.level(); err != nil {
		wrong = append(wrong, err)
	}
	if o.AgentsNamespace != "" && o.AgentsNamespace == o.Namespace {
		wrong = append(wrong, errors.New("--agents-namespace is the operator's own: what is privileged needs a namespace of its own"))
	}
	if o.LeaderElect && o.Namespace == "" {
		wrong = append(wrong, errors.New("--namespace is required for leader election outside of a cluster"))
	}
	return errors.Join(wrong...)
}

func (o *Options) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return level, fmt.Errorf("--log-level is %q: one of debug, info, warn, error", o.LogLevel)
	}
	return level, nil
}
