package serve

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// busyBroker is what a broker has with one job and two workers.
func busyBroker() *BrokerView {
	job, shard := "0123456789ab", 4
	return &BrokerView{
		Total: 1,
		Jobs: []BrokerJob{{
			ID: job, Kind: "generate", State: "open", Images: 28, Made: 6, Shards: 10, Done: 2, SetAside: 1, Workers: 1, Rate: 1.5,
			Left: 14.5, Failures: []BrokerFailure{{Cause: "no \"disk\"\xff", Attempts: 3, SetAside: 1}}, UpdatedAt: 1,
		}},
		Workers: []BrokerWorker{
			{Name: "a-1", Version: "1", Level: "avx2", Threads: 2, Job: &job, Shard: &shard, Images: 6, Rate: 1.5},
			{Name: "b-1", Version: "1", Level: "avx2", Threads: 2},
		},
	}
}

// TestQueue reads the jobs of a broker, which all readers share, and the metrics of the same view.
func TestQueue(t *testing.T) {
	var looks atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	s := newTester(t, Options{Broker: func(context.Context) (*BrokerView, error) {
		if looks.Add(1) == 1 {
			close(begun)
		}
		<-release
		return busyBroker(), nil
	}})
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			status, _, b := s.do("GET", "/v1/queue", "")
			got := parse[BrokerView](t, b)
			if status != http.StatusOK || got.Object != "queue" || len(got.Jobs) != 1 || got.Jobs[0].Made != 6 ||
				len(got.Workers) != 2 || got.Workers[1].Job != nil {
				t.Errorf("status %d: %s", status, b)
			}
		})
	}
	<-begun
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks at a time, want one", n)
	}
	close(release)
	readers.Wait()
	_, _, b := s.do("GET", "/metrics", "")
	for _, want := range []string{
		"tokencache_broker_up 1\n",
		`tokencache_job_images_made{job="0123456789ab"} 6` + "\n",
		`tokencache_job_images_per_second{job="0123456789ab"} 1.5` + "\n",
		`tokencache_job_shards_set_aside{job="0123456789ab"} 1` + "\n",
		`tokencache_job_failures{cause="no \"disk\"?",job="0123456789ab"} 3` + "\n",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("metrics have no %s", want)
		}
	}
}

// TestQueueFresh checks that a view is shown as long as it is fresh, and then made again.
func TestQueueFresh(t *testing.T) {
	looks := 0
	s := newTester(t, Options{})
	b := newBroker(s.Server, func(context.Context) (*BrokerView, error) {
		looks++
		return busyBroker(), nil
	})
	for want := 1; want <= 3; want++ {
		for range 2 {
			if _, err := b.view(t.Context()); err != nil || looks != want {
				t.Fatalf("%d looks, error %v, want %d looks", looks, err, want)
			}
			b.last.at = time.Now().Add(time.Hour) // however slow the test is
		}
		b.last.at = time.Now().Add(-brokerFresh)
	}
}

// TestQueueLost checks what is said without a broker, while there is none, and when it is back.
func TestQueueLost(t *testing.T) {
	none := newTester(t, Options{})
	if status, _, b := none.do("GET", "/v1/queue", ""); status != http.StatusNotFound || !strings.Contains(string(b), `"no_broker"`) {
		t.Errorf("without a broker: status %d: %s", status, b)
	}
	if _, _, b := none.do("GET", "/metrics", ""); strings.Contains(string(b), "tokencache_broker_up") {
		t.Error("without a broker there are metrics of one")
	}
	var there atomic.Bool
	s := newTester(t, Options{Broker: func(context.Context) (*BrokerView, error) {
		if !there.Load() {
			return nil, errors.New("the broker cannot be reached: nobody is at home")
		}
		return &BrokerView{}, nil
	}})
	status, h, b := s.do("GET", "/v1/queue", "")
	if status != http.StatusServiceUnavailable || h.Get("Retry-After") != "1" ||
		!strings.Contains(string(b), "nobody is at home") {
		t.Errorf("while it is away: status %d, %v: %s", status, h, b)
	}
	if status, _, b := s.do("GET", "/metrics", ""); status != http.StatusOK || !strings.Contains(string(b), "tokencache_broker_up 0\n") {
		t.Errorf("metrics while it is away: status %d: %s", status, b)
	}
	there.Store(true)
	s.broker.mu.Lock()
	s.broker.last.at = s.broker.last.at.Add(-brokerFresh)
	s.broker.mu.Unlock()
	status, _, b = s.do("GET", "/v1/queue", "")
	if got := string(b); status != http.StatusOK || !strings.Contains(got, `"jobs":[]`) ||
		!strings.Contains(got, `"workers":[]`) {
		t.Errorf("of a broker without jobs: status %d: %s", status, got)
	}
}

// TestQueueSlow checks that nobody waits for a broker that does not answer longer than they want to,
// and that it does not keep the server from ending.
func TestQueueSlow(t *testing.T) {
	s := newTester(t, Options{Broker: func(ctx context.Context) (*BrokerView, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.broker.view(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.Close()
	if _, err := s.broker.view(t.Context()); err == nil {
		t.Error("a server that has ended looks")
	}
}
