package manager

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/drain"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/session"
)

// Name is the operator's name in events, leader election and user agents.
const Name = "understudy-operator"

// Run runs the operator until ctx ends, and answers its exit code: 0, 1 when it
// failed, 2 when its flags were wrong. Before an uninstall the same program is
// called with "drain" and ends all sessions.
func Run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "drain" {
		if err := drain.Run(ctx, args[1:]); err != nil {
			fmt.Fprintln(stderr, "error:", err)
			return 1
		}
		return 0
	}
	options, err := ParseOptions(args, getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	level, err := options.level()
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	handler := slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level})
	logger := logr.FromSlogHandler(handler)
	log.SetLogger(logger)
	klog.SetLogger(logger)
	if err := run(ctx, options, logger); err != nil {
		logger.Error(err, "operator failed")
		return 1
	}
	return 0
}

// gcPercent has the garbage collector come ten times as often as it does by itself.
// The operator's processor time is next to nothing, and its memory has a limit.
const gcPercent = 10

func run(ctx context.Context, options Options, logger logr.Logger) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	config, err := clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the cluster's configuration: %w", err)
	}
	clock := awaitServer(ctx, config, logger)
	if ctx.Err() != nil {
		return nil
	}
	mgr, err := New(config, options, clock.Now, logger)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// awaitServer waits for the API server to answer at all, and takes the time from
// its answer; ctx has ended where there is none. An operator that gave
// up instead would be restarted after ever longer breaks, and come back to the
// held workloads minutes after the API server did.
func awaitServer(ctx context.Context, config *rest.Config, logger logr.Logger) *clock {
	said := false
	for {
		c, err := readClock(ctx, config, time.Now)
		if err == nil {
			if off := c.off(); off.Abs() > clockTolerated {
				logger.Info("this machine's clock is not the API server's; the latter is gone by", "ahead", off.String())
			}
			return c
		}
		if !said {
			logger.Info("waiting for the API server", "err", err.Error())
			said = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(serverEvery):
		}
	}
}

const (
	// serverEvery is how often an API server that does not answer is asked.
	serverEvery = time.Second
	// answerFor is how long one answer of it is waited for.
	answerFor = 10 * time.Second
	// clockTolerated is how far two clocks may differ without a word about it.
	clockTolerated = 5 * time.Second
)

// Scheme knows every type that the operator reads or writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, coordinationv1.AddToScheme, rbacv1.AddToScheme,
		eventsv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, admissionv1.AddToScheme, metav1.AddMetaToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering types: %w", err)
		}
	}
	return scheme, nil
}

// New wires the operator: the manager with its caches, the two controllers and
// what runs beside them. now is the API server's time.
func New(config *rest.Config, options Options, now func() time.Time, logger logr.Logger) (manager.Manager, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = Name
	// The API server's own fairness limits us; a limit here would only delay
	// restores when there are many.
	config.QPS = -1
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	cacheOptions, err := cacheOptions()
	if err != nil {
		return nil, err
	}
	lock, err := leaderLock(config, options)
	if err != nil {
		return nil, err
	}
	duration, deadline, retry := leaderDuration, leaderDeadline, leaderRetry
	mgr, err := manager.New(config, manager.Options{
		Scheme: scheme, Logger: logger, Cache: cacheOptions,
		LeaderElection: options.LeaderElect, LeaderElectionID: Name, LeaderElectionNamespace: options.Namespace,
		LeaderElectionResourceLockInterface: lock, LeaderElectionReleaseOnCancel: true, LeaseDuration: &duration, RenewDeadline: &deadline, RetryPeriod: &retry,
		Metrics:                metricsserver.Options{BindAddress: options.MetricsAddress},
		HealthProbeBindAddress: options.ProbeAddress,
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	watching, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return nil, fmt.Errorf("making a watching client: %w", err)
	}
	reconciler := &session.Reconciler{
		Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Kinds: hold.AllKinds(options.CustomWorkloads...),
		Flux:            options.MarkFlux,
		ArgoCD:          options.ArgoCDNamespaces,
		Agent:           session.Agent{Image: options.AgentImage, PullPolicy: corev1.PullPolicy(options.AgentPullPolicy), Delivery: session.Delivery(options.AgentDelivery), PriorityClass: options.AgentsPriorityClass},
		AgentsNamespace: options.AgentsNamespace,
		PolicyName:      options.PolicyPrefix + "-sessions",
		KeepFinal:       options.KeepEnded,
		Hearing:         &session.Hearing{Live: mgr.GetAPIReader()},
		Pods:            session.NewPodWatches(watching),
		Metrics:         session.NewMetrics(metrics.Registry),
		Now:             now,
	}
	recorder := newRecorder(mgr.GetClient(), reconciler.Busy, logger)
	reconciler.Events = recorder
	if err := mgr.Add(recorder); err != nil {
		return nil, fmt.Errorf("adding the recorder of events: %w", err)
	}
	if err := reconciler.AddTo(mgr); err != nil {
		return nil, err
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return nil, fmt.Errorf("adding health checks: %w", err)
	}
	return mgr, nil
}

// cacheOptions keep in memory what is ours, and of the cluster's workloads
// nothing but who they are and whether they bear a claim.
func cacheOptions() (cache.Options, error) {
	ours, err := labels.NewRequirement(v1alpha1.SessionLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, fmt.Errorf("making the label selector: %w", err)
	}
	byLabel := cache.ByObject{Label: labels.NewSelector().Add(*ours), Transform: onlyRelations}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.Session{}:     {Transform: onlyState},
			&corev1.Pod{}:           byLabel,
			&coordinationv1.Lease{}: byLabel,
			&appsv1.Deployment{}:    {Transform: onlyIdentity},
		},
	}, nil
}

// onlyRelations strips the metadata of what is made for sessions down to what
// tells whose it is.
func onlyRelations(object any) (any, error) {
	if full, ok := object.(*metav1.PartialObjectMetadata); ok {
		full.ManagedFields, full.Annotations = nil, nil
	}
	return object, nil
}

// onlyState strips a Session down to what others' sessions are woken by. Who acts
// on a Session reads it.
func onlyState(object any) (any, error) {
	asked, ok := object.(*v1alpha1.Session)
	if !ok {
		return object, nil
	}
	asked.ManagedFields, asked.Annotations, asked.Spec.ClientKey = nil, nil, ""
	asked.Status.OldPods, asked.Status.Agent = nil, nil
	var waking []metav1.Condition
	for _, c := range asked.Status.Conditions {
		if session.Wakes(c.Type) {
			c.Message = ""
			waking = append(waking, c)
		}
	}
	asked.Status.Conditions = waking
	if record := asked.Status.Record; record != nil {
		record.ReplicaOwners = nil
	}
	return asked, nil
}

// onlyIdentity strips a workload's metadata down to what the watch is for.
func onlyIdentity(object any) (any, error) {
	full, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	slim := &metav1.PartialObjectMetadata{
		TypeMeta: full.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: full.Name, Namespace: full.Namespace, UID: full.UID,
			ResourceVersion: full.ResourceVersion, Generation: full.Generation,
		},
	}
	if claim, claimed := full.Annotations[v1alpha1.ClaimAnnotation]; claimed {
		slim.Annotations = map[string]string{v1alpha1.ClaimAnnotation: claim}
	}
	for _, m := range v1alpha1.Marks {
		if value, marked := full.Labels[m.Ours]; marked {
			metav1.SetMetaDataLabel(&slim.ObjectMeta, m.Ours, value)
		}
	}
	for _, entry := range full.ManagedFields {
		if entry.Manager == hold.FieldManager {
			slim.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: entry.Manager}}
		}
	}
	return slim, nil
}
