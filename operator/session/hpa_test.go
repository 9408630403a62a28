package session

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// queueLength serves, as a metrics adapter does, how many messages wait: it is
// what the real HorizontalPodAutoscaler scales by.
type queueLength struct{ atomic.Int64 }

// metricsGroup is the API that adapters serve.
const metricsGroup = "/apis/external.metrics.k8s.io/v1beta1"

func (q *queueLength) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	answer := any(map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1", "resources": []any{
		map[string]any{"name": "queue", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": []string{"get"}},
	}})
	if strings.HasPrefix(r.URL.Path, metricsGroup+"/namespaces/") {
		answer = map[string]any{"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": map[string]any{}, "items": []any{
			map[string]any{"metricName": "queue", "metricLabels": map[string]any{}, "timestamp": time.Now().UTC().Format(time.RFC3339), "value": strconv.FormatInt(q.Load(), 10)},
		}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// serve has the API server pass the metrics' API on to it.
func (q *queueLength) serve(s *stage) {
	s.t.Helper()
	server := httptest.NewTLSServer(q)
	s.t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	s.must(err)
	number, err := strconv.Atoi(port)
	s.must(err)
	s.must(s.Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "metrics"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}))
	api := s.object(`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1beta1.external.metrics.k8s.io},
		spec: {group: external.metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true,
			service: {namespace: ` + s.namespace + `, name: metrics, port: ` + strconv.Itoa(number) + `}}}`)
	s.must(s.Create(s.ctx, api))
	s.t.Cleanup(func() { s.must(client.IgnoreNotFound(s.Delete(context.WithoutCancel(s.ctx), api))) })
}

func (s *stage) autoscaler(name string) *autoscalingv2.HorizontalPodAutoscaler {
	s.t.Helper()
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	s.must(s.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, hpa))
	return hpa
}

// says is a condition of an autoscaler; empty while it is not there.
func says(hpa *autoscalingv2.HorizontalPodAutoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType) corev1.ConditionStatus {
	for _, c := range hpa.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// A HorizontalPodAutoscaler that may scale to zero, on the queue's length. What it
// runs is held and left alone by it, however many messages wait. What it has itself
// brought to zero it would wake: that starts no pod to stay, and its number is what
// comes back, so that it goes on scaling; at rest, it comes back as it was.
func TestAutoscalerThatScalesToZero(t *testing.T) {
	s := newStage(t)
	queue := &queueLength{}
	queue.serve(s)
	s.start()
	s.must(s.team("worker", 1))
	s.must(s.Create(s.ctx, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "worker"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "worker"},
			MinReplicas:    ptr.To(int32(0)), MaxReplicas: 3,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "queue"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: ptr.To(resource.MustParse("10"))},
			}}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: ptr.To(int32(0))}},
		},
	}))
	target := func() v1alpha1.Target {
		return v1alpha1.Target{Group: "apps", Resource: "deployments", Name: "worker", UID: s.deployment("worker").UID, Container: "worker"}
	}
	atRest := func(pods int) func() bool {
		return func() bool {
			d := s.deployment("worker")
			return int(*d.Spec.Replicas) == pods && len(s.pods("worker")) == pods && d.Status.ObservedGeneration == d.Generation
		}
	}
	end := func(name string) {
		s.must(s.Delete(s.ctx, s.session(name)))
		s.awaits("the session is gone", func() bool { return s.session(name) == nil })
	}

	queue.Store(20)
	s.awaits("it scales by the queue's length", atRest(2))
	s.askFor("runs", target(), nil)
	s.awaits("the session is ready", func() bool { return s.isReady("runs") })
	queue.Store(30)
	s.awaits("it says that it leaves zero alone", func() bool {
		return says(s.autoscaler("worker"), autoscalingv2.ScalingActive) == corev1.ConditionFalse
	})
	if n := s.session("runs").Status.Record.Replicas; n != 2 || *s.deployment("worker").Spec.Replicas != 0 {
		t.Errorf("%d replicas are remembered, and %d wished", n, *s.deployment("worker").Spec.Replicas)
	}
	end("runs")
	s.awaits("it scales again", atRest(3))

	queue.Store(0)
	s.awaits("it has scaled to zero", atRest(0))
	s.awaits("it says so", func() bool { return says(s.autoscaler("worker"), autoscalingv2.ScaledToZero) == corev1.ConditionTrue })
	s.askFor("rests", target(), nil)
	s.awaits("the session is ready", func() bool { return s.isReady("rests") })
	end("rests")
	if says(s.autoscaler("worker"), autoscalingv2.ScaledToZero) != corev1.ConditionTrue || !atRest(0)() {
		t.Errorf("it is not at rest as it was: %+v", s.autoscaler("worker").Status.Conditions)
	}

	s.askFor("wakes", target(), nil)
	s.awaits("the session is ready", func() bool { return s.isReady("wakes") })
	queue.Store(20)
	// Not by its name: of a number that nobody owns, as this one since it was scaled to
	// zero, the scale subresource makes nobody the owner.
	s.awaits("its number is remembered", func() bool { return s.session("wakes").Status.Record.Replicas == 2 })
	s.awaits("it is at zero again", func() bool { return s.isReady("wakes") && atRest(0)() })
	end("wakes")
	s.awaits("it runs again", atRest(2))
	queue.Store(0)
	s.awaits("and scales to zero by itself", atRest(0))
}
