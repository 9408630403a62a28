// Package workload holds what a team would run in the cluster: a broker with
// its producer, workers, and a small web service. The manifests are YAML as a
// team would write it, and are applied as the team's own field manager.
package workload

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"text/template"
	"time"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/queue"
)

//go:embed *.yaml
var manifests embed.FS

// Team is the field manager that a team's own pipeline applies with.
const Team = "team"

// Image names the image that holds every program of the tests; the Makefile
// has loaded it into the cluster.
func Image() (string, error) {
	if image := os.Getenv("E2E_IMAGE"); image != "" {
		return image, nil
	}
	return "", errors.New("E2E_IMAGE names no image: run this by `make e2e` or `make demo`")
}

const (
	defaultReplicas = 3
	// None is for Options.Replicas: a deployment of no pod.
	None = -1
)

// Options are what a manifest may be asked to be like.
type Options struct {
	// Replicas of the deployment; 3 by default, and None.
	Replicas int
	// Args of the main program beyond its own.
	Args []string
	// Grace is the pods' termination grace period in seconds; 5 by default.
	Grace int
	// Lax leaves out what the restricted Pod Security level asks for ("web").
	Lax bool
	// Probes that the pods of "probed" have, a pod each: http, tcp, grpc.
	Probes []string
	// Referred has a Rollout take a Deployment's place ("rollout").
	Referred bool
	// Scaled are the deployments that KEDA scales by the queue's length ("scaled"),
	// and Namespace is where the queue is. With Jobs it makes jobs, too.
	Scaled    []string
	Jobs      bool
	Namespace string
	// Image instead of the tests' own.
	Image string
	// Data of the config map that "dealer" has and "holder" gets.
	Data map[string]string
}

// Apply applies one of the manifests ("broker", "worker", "stateful", "lone",
// "planted", "probed", "web", "traffic", "rabbitmq", "redis", "dealer", "holder",
// "scaled", "rollout")
// as the team.
func Apply(ctx context.Context, c *cluster.Cluster, namespace, name string, o Options) error {
	manifest, err := Manifest(name, o)
	if err != nil {
		return err
	}
	return c.Apply(ctx, Team, namespace, manifest)
}

// Start applies a manifest and waits until its deployment of the same name is
// available.
func Start(ctx context.Context, c *cluster.Cluster, namespace, name string, o Options) error {
	if err := Apply(ctx, c, namespace, name, o); err != nil {
		return err
	}
	if o.Replicas == 0 {
		o.Replicas = defaultReplicas
	}
	return c.Available(ctx, namespace, name, int32(o.Replicas))
}

// Broker starts the broker and its producer, and returns once the queue is
// there, so that workers find it.
func Broker(ctx context.Context, c *cluster.Cluster, namespace string) (queue.Monitor, error) {
	if err := Apply(ctx, c, namespace, "broker", Options{}); err != nil {
		return queue.Monitor{}, err
	}
	for _, name := range []string{"nats", "producer"} {
		if err := c.Available(ctx, namespace, name, 1); err != nil {
			return queue.Monitor{}, err
		}
	}
	return Monitor(ctx, c, namespace)
}

// Manifest fills in one of the manifests.
func Manifest(name string, o Options) ([]byte, error) {
	if o.Image == "" {
		var err error
		if o.Image, err = Image(); err != nil {
			return nil, err
		}
	}
	if o.Replicas == 0 {
		o.Replicas = defaultReplicas
	}
	o.Replicas = max(o.Replicas, 0)
	if o.Grace == 0 {
		o.Grace = 5
	}
	text, err := template.ParseFS(manifests, name+".yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := text.Execute(&out, o); err != nil {
		return nil, fmt.Errorf("filling in the manifest of %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// Monitor reads the counters of the namespace's broker, asked through the API
// server: nothing of the queue is asked by way of what is tested.
func Monitor(ctx context.Context, c *cluster.Cluster, namespace string) (queue.Monitor, error) {
	pod, err := c.PodOf(ctx, namespace, "nats")
	if err != nil {
		return queue.Monitor{}, err
	}
	return queue.Monitor{Get: func(ctx context.Context, path string, query map[string]string) ([]byte, error) {
		return c.Get(ctx, namespace, pod, queue.MonitorPort, path, query)
	}}, nil
}

// Publish puts n messages into the namespace's queue and returns when the
// broker has stored them, with a pause after each.
func Publish(ctx context.Context, c *cluster.Cluster, namespace string, n int, pause time.Duration) error {
	pod, err := c.PodOf(ctx, namespace, "producer")
	if err != nil {
		return err
	}
	_, err = c.Post(ctx, namespace, pod, 8080, "/publish", map[string]string{"count": strconv.Itoa(n), "pause": pause.String()})
	if err != nil {
		return fmt.Errorf("publishing %d messages: %w", n, err)
	}
	return nil
}
