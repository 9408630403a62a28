package session

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Metrics of the reconciler. A nil *Metrics counts into nowhere.
type Metrics struct {
	sessions    *prometheus.GaugeVec
	ends        *prometheus.CounterVec
	setup       prometheus.Histogram
	holds       prometheus.Counter
	reasserts   prometheus.Counter
	brokenHolds prometheus.Counter
	lostStandIn prometheus.Counter
	restores    prometheus.Counter
	sweeps      prometheus.Counter
	restoring   prometheus.Histogram

	mu     sync.Mutex
	states map[types.NamespacedName]string
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "understudy", Name: name, Help: help})
	}
	m := &Metrics{
		sessions:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "understudy", Name: "sessions", Help: "Sessions by state: setup, ready, ending, ended."}, []string{"state"}),
		ends:        prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "understudy", Name: "sessions_ended_total", Help: "Sessions that the operator ended, by reason."}, []string{"reason"}),
		setup:       prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "understudy", Name: "session_setup_seconds", Help: "Time from a session's creation to Ready.", Buckets: []float64{0.5, 1, 2, 4, 8, 16, 32, 64, 128}}),
		holds:       counter("holds_total", "Workloads brought to zero."),
		reasserts:   counter("hold_reasserted_total", "Times that somebody else's number was brought to zero again."),
		brokenHolds: counter("hold_broken_total", "Times that a pod of a held workload ran."),
		lostStandIn: counter("stand_ins_lost_total", "Stand-ins that were lost and made again."),
		restores:    counter("restores_total", "Workloads put back by their session."),
		sweeps:      counter("restores_swept_total", "Workloads put back because their session was gone."),
		restoring:   prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "understudy", Name: "restore_seconds", Help: "Time that writing a number back took.", Buckets: prometheus.DefBuckets}),
		states:      map[types.NamespacedName]string{},
	}
	registry.MustRegister(m.sessions, m.ends, m.setup, m.holds, m.reasserts, m.brokenHolds, m.lostStandIn, m.restores, m.sweeps, m.restoring)
	return m
}

func (m *Metrics) count(pick func(*Metrics) prometheus.Counter) {
	if m != nil {
		pick(m).Inc()
	}
}

func (m *Metrics) held()       { m.count(func(m *Metrics) prometheus.Counter { return m.holds }) }
func (m *Metrics) reasserted() { m.count(func(m *Metrics) prometheus.Counter { return m.reasserts }) }
func (m *Metrics) broken()     { m.count(func(m *Metrics) prometheus.Counter { return m.brokenHolds }) }
func (m *Metrics) lost()       { m.count(func(m *Metrics) prometheus.Counter { return m.lostStandIn }) }
func (m *Metrics) swept()      { m.count(func(m *Metrics) prometheus.Counter { return m.sweeps }) }

func (m *Metrics) ended(reason string) {
	if m != nil {
		m.ends.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) ready(took time.Duration) {
	if m != nil {
		m.setup.Observe(took.Seconds())
	}
}

func (m *Metrics) restored(took time.Duration) {
	if m != nil {
		m.restores.Inc()
		m.restoring.Observe(took.Seconds())
	}
}

// observe counts a session in its state.
func (m *Metrics) observe(key types.NamespacedName, session *v1alpha1.Session) {
	if m == nil {
		return
	}
	m.move(key, stateOf(session))
}

func (m *Metrics) forget(key types.NamespacedName) {
	if m != nil {
		m.move(key, "")
	}
}

func (m *Metrics) move(key types.NamespacedName, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.states[key]
	if before == state {
		return
	}
	if before != "" {
		m.sessions.WithLabelValues(before).Dec()
	}
	if state == "" {
		delete(m.states, key)
		return
	}
	m.states[key] = state
	m.sessions.WithLabelValues(state).Inc()
}

func stateOf(session *v1alpha1.Session) string {
	ready := meta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case restored(session):
		return "ended"
	case !session.DeletionTimestamp.IsZero() || (ready != nil && finalReasons[ready.Reason]):
		return "ending"
	case ready != nil && ready.Status == "True":
		return "ready"
	}
	return "setup"
}
