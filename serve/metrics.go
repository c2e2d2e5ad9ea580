package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokencache/tokencache"
)

// metrics are what the server tells Prometheus.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	jobs      *prometheus.HistogramVec
	queueWait *prometheus.HistogramVec
	running   *prometheus.GaugeVec
	waiting   *prometheus.GaugeVec
	adapted   prometheus.Counter
	images    *prometheus.CounterVec
	steps     *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	computed  *prometheus.CounterVec
	flops     *prometheus.CounterVec
	saved     *prometheus.CounterVec
	ticks     prometheus.Histogram
	tickRows  prometheus.Histogram
	tickSeqs  prometheus.Histogram
}

// labels are the model and the policy of a request in metrics; "" where they are not known.
type labels struct{ model, policy string }

// prefix of the metrics' names.
const namespace = "tokencache"

func newMetrics() *metrics {
	perModel := []string{"model", "policy"}
	with := func(labels ...string) []string { return append(labels, perModel...) }
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, perModel)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}
	}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 20) // to 9 minutes
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("http_requests_total", "Requests by route and status; model and policy are of requests for "+
			"images, once they are known.", with("route", "status")...),
		latency: prometheus.NewHistogramVec(histogram("e2e_request_latency_seconds",
			"Time from a request to the end of its answer, by route.", seconds), with("route")),
		jobs: prometheus.NewHistogramVec(histogram("e2e_job_latency_seconds",
			"Time from a job's acceptance to its end, by how it ended.",
			prometheus.ExponentialBuckets(0.01, 2, 20)), with("status")), // to 87 minutes
		queueWait: prometheus.NewHistogramVec(histogram("request_queue_time_seconds",
			"Time that requests waited for their first image to be begun.", seconds), perModel),
		running: gauge("num_requests_running", "Requests of which images are in flight or finished."),
		waiting: gauge("num_requests_waiting", "Requests of which no image has been begun."),
		adapted: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "adapted_requests_total",
			Help: "Requests served by a faster policy, as they would have been refused otherwise."}),
		images: counter("images_total", "Images finished.", perModel...),
		steps: counter("steps_total", "Denoising steps of finished images: kind I computed every token, P did not.",
			"model", "policy", "kind"),
		tokens: counter("tokens_total", "Tokens of all blocks of all steps of finished images.", perModel...),
		computed: counter("computed_tokens_total", "Those of tokens_total that were computed; the ratio is the "+
			"computed-token ratio.", perModel...),
		flops: counter("flops_total", "Floating-point operations of finished images.", perModel...),
		saved: counter("saved_flops_total", "Floating-point operations that policies saved.", perModel...),
		ticks: prometheus.NewHistogram(histogram("tick_duration_seconds",
			"Time of a pass over the sequences of a tick.", prometheus.ExponentialBuckets(0.0005, 2, 16))),
		tickRows: prometheus.NewHistogram(histogram("tick_batch_rows", "Rows of tokens in a tick.",
			prometheus.ExponentialBuckets(8, 2, 10))),
		tickSeqs: prometheus.NewHistogram(histogram("tick_batch_sequences", "Images in a tick.",
			prometheus.LinearBuckets(1, 1, 16))),
	}
	m.registry.MustRegister(m.requests, m.latency, m.jobs, m.queueWait, m.running, m.waiting, m.adapted,
		m.images, m.steps, m.tokens, m.computed, m.flops, m.saved, m.ticks, m.tickRows, m.tickSeqs,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// register adds what is read from the server when Prometheus asks.
func (m *metrics) register(s *Server) {
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help},
			f))
	}
	load := func() (sum tokencache.Load) {
		for _, o := range s.models.loaded() {
			l := o.Pipeline.Load()
			sum.Images += l.Images
			sum.Rows += l.Rows
			sum.Bytes += l.Bytes
		}
		return sum
	}
	gauge("queue_work_seconds", "How long all work in hand takes.", func() float64 { return s.queue.backlog().Seconds() })
	gauge("num_sequences_running", "Images in flight.", func() float64 { return float64(load().Images) })
	gauge("cache_bytes", "Memory reserved for the caches, activations and latents of images in flight.",
		func() float64 { return float64(load().Bytes) })
	gauge("models_loaded", "Models that are open.", func() float64 { return float64(len(s.models.loaded())) })
	if s.broker != nil {
		m.registry.MustRegister(s.broker)
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// tick notes a tick of an engine.
func (m *metrics) tick(t tokencache.Tick) {
	m.ticks.Observe(t.Seconds)
	m.tickRows.Observe(float64(t.Rows))
	m.tickSeqs.Observe(float64(t.Sequences))
}

// answered notes an answer.
func (m *metrics) answered(r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	of := labelsOf(r)
	m.requests.WithLabelValues(route, strconv.Itoa(status), of.model, of.policy).Inc()
	m.latency.WithLabelValues(route, of.model, of.policy).Observe(took.Seconds())
}

// queued notes that a request waits.
func (m *metrics) queued(of labels) { m.waiting.WithLabelValues(of.model, of.policy).Inc() }

// begun notes that the first image of a request is begun after a wait.
func (m *metrics) begun(of labels, wait time.Duration) {
	m.waiting.WithLabelValues(of.model, of.policy).Dec()
	m.running.WithLabelValues(of.model, of.policy).Inc()
	m.queueWait.WithLabelValues(of.model, of.policy).Observe(wait.Seconds())
}

// gone notes that a request is not in the queue any more.
func (m *metrics) gone(of labels, begun bool) {
	in := m.waiting
	if begun {
		in = m.running
	}
	in.WithLabelValues(of.model, of.policy).Dec()
}

// generated notes a finished image.
func (m *metrics) generated(of labels, s tokencache.Stats) {
	model, policy := of.model, of.policy
	m.images.WithLabelValues(model, policy).Inc()
	m.steps.WithLabelValues(model, policy, "I").Add(float64(s.ISteps))
	m.steps.WithLabelValues(model, policy, "P").Add(float64(s.PSteps))
	m.tokens.WithLabelValues(model, policy).Add(float64(s.Rows))
	m.computed.WithLabelValues(model, policy).Add(float64(s.ComputedRows))
	m.flops.WithLabelValues(model, policy).Add(float64(s.FLOPs))
	m.saved.WithLabelValues(model, policy).Add(float64(max(0, s.UncachedFLOPs-s.FLOPs)))
}
