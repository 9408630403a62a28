package plan

import (
	"slices"
	"strings"
	"testing"

	"understudy.dev/understudy/cli/target"
)

// What else may read from the same queue, and by what that is known. No
// password is ever shown.
func TestConsumers(t *testing.T) {
	container := func(text string) string { return "{spec: {containers: [{name: c, image: x, " + text + "}]}}" }
	for name, c := range map[string]struct {
		template string
		want     []string
	}{
		"nothing shared":     {container("env: [{name: A, value: plain}]"), nil},
		"everybody's":        {"{spec: {containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, configMap: {name: kube-root-ca.crt}}]}}", nil},
		"its secret":         {container("envFrom: [{secretRef: {name: rabbit}}]"), []string{"warns MayReadTheSame: deployment/reporter may read from the same queue, and goes on: it shares secret rabbit"}},
		"a key of it":        {container("env: [{name: A, valueFrom: {secretKeyRef: {name: rabbit, key: k}}}]"), []string{"warns MayReadTheSame: secret rabbit"}},
		"mounted":            {"{spec: {containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, projected: {sources: [{secret: {name: rabbit}}]}}]}}", []string{"warns MayReadTheSame: secret rabbit"}},
		"not mounted":        {"{spec: {containers: [{name: c}], volumes: [{name: v, secret: {secretName: rabbit}}]}}", nil},
		"the address":        {container(`env: [{name: CACHE, value: "redis://cache:6379"}]`), []string{"warns MayReadTheSame: the address cache:6379 (its REDIS)"}},
		"another port of it": {container(`env: [{name: CACHE, value: "cache:6380"}]`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, worker, func(w *World) { w.Workloads.Items = []target.Listed{listed(t, "reporter", c.template)} })
			got := consumers(w)
			expect(t, got, c.want...)
			for _, finding := range got {
				if strings.Contains(finding.Says, "geheim") {
					t.Errorf("a password is shown: %s", finding.Says)
				}
			}
			w.Workloads.Items[0].Replicas = 0
			expect(t, consumers(w))
		})
	}
}

func TestAddresses(t *testing.T) {
	for value, want := range map[string][]string{
		"":                                       nil,
		"plain text, and more":                   nil,
		"amqp://user:pass@broker.shop.svc:5672/": {"broker:5672"},
		"nats://nats.shop.svc.cluster.local":     {"nats"},
		"kafka-0.kafka.shop.svc:9092,kafka-1.kafka:9092": {"kafka-0.kafka:9092", "kafka-1.kafka:9092"},
		"localhost:6379":                    nil,
		"http://127.0.0.1:8080":             nil,
		"0.0.0.0:8080":                      nil,
		"12:30":                             nil,
		"https://sqs.eu-1.example.com/1/q":  {"sqs.eu-1.example.com"},
		"user:pass@host:1":                  nil,
		"Broker.other.svc.cluster.local:80": {"broker.other:80"},
	} {
		if got := addresses(value, "shop"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
