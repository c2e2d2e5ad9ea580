package serve

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BrokerView is what a broker has at one time: jobs that workers on any number of machines do, which
// are not the server's own.
type BrokerView struct {
	Object  string         `json:"object"` // queue; set by the server
	Total   int            `json:"total"`  // jobs of the broker, of which Jobs may leave some out
	Jobs    []BrokerJob    `json:"jobs"`
	Workers []BrokerWorker `json:"workers"`
}

// BrokerJob is how far a job is.
type BrokerJob struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`  // the command: generate, or one whose tasks count as its images
	State     string          `json:"state"` // open, done or cancelled
	Images    int             `json:"images"`
	Made      int             `json:"images_made"`
	Shards    int             `json:"shards"`
	Done      int             `json:"shards_done"`
	SetAside  int             `json:"shards_set_aside"` // they had all their attempts
	Workers   int             `json:"workers"`          // at the job
	Rate      float64         `json:"images_per_second"`
	Left      float64         `json:"seconds_left"` // 0 if unknown
	Failures  []BrokerFailure `json:"failures"`
	UpdatedAt int64           `json:"updated_at"` // Unix time at which a coordinator last looked; 0: never
}

// BrokerFailure is why attempts at shards of a job failed.
type BrokerFailure struct {
	Cause    string `json:"cause"`
	Attempts int    `json:"attempts"` // that failed, as far as they were counted
	SetAside int    `json:"shards_set_aside"`
}

// BrokerWorker is a worker that is there.
type BrokerWorker struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Level   string  `json:"cpu_level"`
	Threads int     `json:"threads"`
	Job     *string `json:"job"`   // that it is at; nil: it waits
	Shard   *int    `json:"shard"` // likewise
	Images  int     `json:"images"`
	Rate    float64 `json:"images_per_second"`
}

const (
	// brokerFresh is how long a view is shown before the broker is asked again.
	brokerFresh = time.Second
	// brokerWait bounds how long the broker is waited for.
	brokerWait = 5 * time.Second
)

// errBrokerSlow reports a broker that has not answered within brokerWait.
var errBrokerSlow = errors.New("the broker does not answer in time")

// broker asks for a view at most once at a time, and shares it among all who ask meanwhile and
// shortly after. A nil broker is none.
type broker struct {
	s    *Server
	look func(context.Context) (*BrokerView, error)

	mu   sync.Mutex
	last *brokerLook
	lost bool // the last look failed, which the log says once
}

// brokerLook is a view that is being made, or is made once done is closed.
type brokerLook struct {
	done chan struct{}
	view *BrokerView
	err  error
	at   time.Time
}

func newBroker(s *Server, look func(context.Context) (*BrokerView, error)) *broker {
	if look == nil {
		return nil
	}
	return &broker{s: s, look: look}
}

// fresh reports whether a look is still of use.
func (l *brokerLook) fresh() bool {
	select {
	case <-l.done:
		return time.Since(l.at) < brokerFresh
	default:
		return true
	}
}

// view returns what the broker had a moment ago.
func (b *broker) view(ctx context.Context) (*BrokerView, error) {
	b.mu.Lock()
	l := b.last
	if l == nil || !l.fresh() {
		if err := b.s.enter(); err != nil {
			b.mu.Unlock()
			return nil, err
		}
		l = &brokerLook{done: make(chan struct{})}
		b.last = l
		go func() {
			defer b.s.work.Done()
			b.run(l)
		}()
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, brokerWait, errBrokerSlow)
	defer cancel()
	select {
	case <-l.done:
		return l.view, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run looks, and logs when the broker goes and when it is back.
func (b *broker) run(l *brokerLook) {
	ctx, cancel := context.WithTimeoutCause(b.s.ctx, brokerWait, errBrokerSlow)
	defer cancel()
	l.view, l.err = b.look(ctx)
	l.at = time.Now()
	switch {
	case l.err != nil && !b.lost:
		b.s.log.Warn("no view of the broker's jobs", "error", l.err)
	case l.err == nil && b.lost:
		b.s.log.Info("the broker's jobs can be seen again")
	}
	b.lost = l.err != nil
	close(l.done)
}

// getQueue is GET /v1/queue.
func (s *Server) getQueue(w http.ResponseWriter, r *http.Request) {
	if s.broker == nil {
		s.writeError(w, r, newError(http.StatusNotFound, typeMissing, "no_broker",
			"this server shows no broker's jobs"))
		return
	}
	view, err := s.broker.view(r.Context())
	switch {
	case errors.Is(err, errStopping), r.Context().Err() != nil:
		s.writeError(w, r, err)
	case err != nil:
		e := newError(http.StatusServiceUnavailable, typeInternal, "broker_unavailable", "%v", err)
		e.retryAfter, e.logged = brokerFresh, true
		s.writeError(w, r, e)
	default:
		answer := *view
		answer.Object = "queue"
		answer.Jobs = append([]BrokerJob{}, view.Jobs...) // a list also where there are none
		answer.Workers = append([]BrokerWorker{}, view.Workers...)
		writeJSON(w, http.StatusOK, answer)
	}
}

// brokerMetrics are the metrics of a broker's jobs, by the names that jobs run gives them.
var brokerMetrics = []struct {
	desc  *prometheus.Desc
	value func(*BrokerJob) float64
}{
	{jobDesc("images", "Images of the job."), func(j *BrokerJob) float64 { return float64(j.Images) }},
	{jobDesc("images_made", "Images whose parts are there."), func(j *BrokerJob) float64 { return float64(j.Made) }},
	{jobDesc("shards", "Shards of the job."), func(j *BrokerJob) float64 { return float64(j.Shards) }},
	{jobDesc("shards_done", "Shards whose parts are there."), func(j *BrokerJob) float64 { return float64(j.Done) }},
	{jobDesc("shards_set_aside", "Shards that had all their attempts."),
		func(j *BrokerJob) float64 { return float64(j.SetAside) }},
	{jobDesc("workers", "Workers at the job."), func(j *BrokerJob) float64 { return float64(j.Workers) }},
	{jobDesc("images_per_second", "What the workers made lately, in all."), func(j *BrokerJob) float64 { return j.Rate }},
	{jobDesc("seconds_left", "Estimated time to the end, 0 if unknown."), func(j *BrokerJob) float64 { return j.Left }},
}

var (
	failuresDesc = jobDesc("failures", "Attempts that failed, by cause.", "cause")
	brokerUpDesc = prometheus.NewDesc(namespace+"_broker_up", "Whether the broker's jobs can be seen.", nil, nil)
)

func jobDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_job_"+name, help, append([]string{"job"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (b *broker) Describe(to chan<- *prometheus.Desc) {
	to <- brokerUpDesc
	to <- failuresDesc
	for _, m := range brokerMetrics {
		to <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (b *broker) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		for i, text := range labels {
			labels[i] = strings.ToValidUTF8(text, "?")
		}
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	view, err := b.view(b.s.ctx)
	if err != nil {
		gauge(brokerUpDesc, 0)
		return
	}
	gauge(brokerUpDesc, 1)
	for i := range view.Jobs {
		j := &view.Jobs[i]
		for _, m := range brokerMetrics {
			gauge(m.desc, m.value(j), j.ID)
		}
		for _, f := range j.Failures {
			gauge(failuresDesc, float64(f.Attempts), j.ID, f.Cause)
		}
	}
}
