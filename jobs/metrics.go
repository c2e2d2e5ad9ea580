package jobs

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Metrics serves how far a job is to Prometheus, in its text format, at /metrics.
type Metrics struct {
	server *http.Server
	mu     sync.Mutex
	status Status
}

// ServeMetrics listens at address; "" serves nothing.
func ServeMetrics(address string) (*Metrics, error) {
	m := &Metrics{}
	if address == "" {
		return m, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m)
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, Addr: listener.Addr().String()}
	go m.server.Serve(listener) //nolint:errcheck // it ends with Close
	return m, nil
}

// Set takes over a status.
func (m *Metrics) Set(s *Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = *s
}

// ServeHTTP implements http.Handler.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	s := m.status
	m.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, g := range []struct {
		name, help string
		value      any
	}{
		{"images", "Images of the job.", s.Images},
		{"images_made", "Images whose parts are there.", s.Made},
		{"shards", "Shards of the job.", s.Units},
		{"shards_done", "Shards whose parts are there.", s.Done},
		{"shards_set_aside", "Shards that had all their attempts.", len(s.SetAside)},
		{"workers", "Workers at the job.", s.Workers},
		{"images_per_second", "What the workers made lately, in all.", s.Rate},
		{"seconds_left", "Estimated time to the end, 0 if unknown.", s.Left},
	} {
		name := "tokencache_job_" + g.name
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %[1]s gauge\n%[1]s{job=%[3]q} %[4]v\n", name, g.help, s.Job, g.value)
	}
	for cause, n := range s.Causes {
		fmt.Fprintf(w, "tokencache_job_failures{job=%q,cause=%q} %d\n", s.Job, cause, n)
	}
}

// Close ends the service.
func (m *Metrics) Close() error {
	if m.server == nil {
		return nil
	}
	return m.server.Close()
}
