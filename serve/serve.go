// Package serve answers HTTP requests for images: the API that OpenAI's clients speak, jobs that
// can be followed and cancelled, metrics, and a page for people. A Server is an http.Handler over
// pipelines, so a program can embed it next to handlers of its own.
//
// An image is the same, bit for bit, as the one that the library generates for the request alone,
// and its PNG file the same as the one that tokencache generate writes, whatever else is running.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// Options says what a Server serves, to whom, and how much of it. Zero values mean what the
// comments say.
type Options struct {
	// Models are served by name; the first is used where a request names none. At least one.
	Models []Model
	// Threads is the number of workers that all models share; 0 means all processors.
	Threads int
	// Memory bounds the weights of open models, in bytes, and likewise the caches of each; 0 means
	// DefaultMemory. Models that nobody uses are closed, the least recently used first, to make room.
	Memory int64
	// Queue is how long a request may be expected to wait for others; 0 means DefaultQueue. A request
	// that would wait longer is answered with 429 and when to come again. All work in hand is bounded
	// by a multiple of it.
	Queue time.Duration
	// Adaptive, if not 0, lets requests that say nothing of policies be served by the policy that
	// keeps this PSNR, in dB, of each image where they would have to be refused otherwise.
	Adaptive float64

	// Keys are those who may use the API; nil means anybody.
	Keys *Keys
	// LocalOnly refuses requests that were not addressed to this machine by a loopback name, so that
	// no page of another site can reach the server through the user's browser.
	LocalOnly bool
	// Origin is the one origin whose pages may call the API from a browser; "" means none but the
	// server's own.
	Origin string

	// State is a folder in which jobs are kept, to be resumed when the server starts again; ""
	// means that they are lost with the process.
	State string
	// KeepFor and KeepBytes bound how long, and how many bytes of, images that were asked for as
	// URLs and finished jobs are kept; 0 means DefaultKeepFor and DefaultKeepBytes.
	KeepFor   time.Duration
	KeepBytes int64

	// Broker, if not nil, tells what jobs a broker of distributed jobs has, and what they are doing.
	// It is called at most once a second, when somebody asks, with a context that ends after seconds.
	Broker func(ctx context.Context) (*BrokerView, error)

	Logger     *slog.Logger // nil: nothing is logged
	LogPrompts bool         // otherwise logs have no prompts
}

// Defaults of Options.
const (
	DefaultMemory    = 8 << 30
	DefaultQueue     = 20 * time.Second
	DefaultKeepFor   = time.Hour
	DefaultKeepBytes = 256 << 20
)

func (o Options) withDefaults() Options {
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.KeepFor == 0 {
		o.KeepFor = DefaultKeepFor
	}
	if o.KeepBytes == 0 {
		o.KeepBytes = DefaultKeepBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server serves models. It is an http.Handler.
type Server struct {
	o       Options
	models  *registry
	queue   *scheduler
	images  *imageStore
	jobs    *jobStore
	broker  *broker // nil: none
	metrics *metrics
	handler http.Handler
	log     *slog.Logger
	ctx     context.Context // of all work
	cancel  context.CancelCauseFunc

	readTimeout time.Duration // of bodies
	began       time.Time

	mu       sync.Mutex
	draining bool
	work     sync.WaitGroup // runs, and models that are being opened
}

// errStopping is the cause of the end of work that was not finished when the server ended.
var errStopping = errors.New("the server is stopping")

// New returns a server. Jobs of an earlier one in Options.State go on at once. The caller closes it.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	switch {
	case len(o.Models) == 0:
		return nil, errors.New("serve: no models")
	case o.Threads < 0 || o.Memory < 0 || o.Queue < 0 || o.KeepFor < 0 || o.KeepBytes < 0 || !(o.Adaptive >= 0):
		return nil, fmt.Errorf("serve: threads %d, memory %d, queue %v, keep %v and %d bytes, adaptive %g dB: want 0 or "+
			"more each",
			o.Threads, o.Memory, o.Queue, o.KeepFor, o.KeepBytes, o.Adaptive)
	}
	s := &Server{o: o, log: o.Logger, readTimeout: readTimeout, began: time.Now()}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.metrics = newMetrics()
	s.queue = newScheduler(o.Threads, o.Queue, s.metrics)
	var err error
	if s.models, err = newRegistry(s, o); err != nil {
		return nil, err
	}
	s.images = newImageStore(o.KeepFor, o.KeepBytes)
	s.broker = newBroker(s, o.Broker)
	s.metrics.register(s)
	if s.jobs, err = openJobs(s, o.State); err != nil {
		s.models.close(context.Background())
		return nil, err
	}
	s.handler = s.routes()
	s.jobs.resume()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// enter notes that there is work, which ends with work.Done; not any more when the server drains.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return errStopping
	}
	s.work.Add(1)
	return nil
}

// Drain refuses new work and waits until what runs is finished. When ctx is done what still runs is
// cancelled; jobs are saved as they are if there is a folder for them. The error is ctx's.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel(errStopping)
	<-done
	s.models.close(ctx)
	s.jobs.close()
	return err
}

// Close ends the server and what runs, at once.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx) // its error is that there was work
}
