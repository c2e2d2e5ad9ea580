// Package load puts a server under load and checks what it answers.
package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/serve"
)

// Options says how a server is put under load.
type Options struct {
	Model    string
	Duration time.Duration // of arrivals
	Load     float64       // rate of arrivals over the capacity
	Clients  int           // requests in hand at most; one that arrives then is not sent
	Aborts   float64       // share of requests that are given up
	Queue    time.Duration
	Threads  int
	Policy   string // of all requests; "": a mixture
	Steps    int    // with Policy; 0: as many as is usual
	Seed     uint64
	OnStage  func(what string)
}

// Report is how a server did.
type Report struct {
	Policy     string  `json:"policy"` // of all requests, or mixed
	Throughput float64 `json:"images_per_s"`
	P50        float64 `json:"p50_ms"` // latency of requests that were answered with images
	P99        float64 `json:"p99_ms"`
	Lone       float64 `json:"lone_p50_ms"`    // of one request at a time, beforehand
	Library    float64 `json:"library_p50_ms"` // of the same images by the library alone, in turn with these
	Requests   int     `json:"requests"`       // that were sent
	NotSent    int     `json:"not_sent"`       // arrived while as many as there may be were in hand
	Images     int     `json:"images"`
	Rejected   int     `json:"rejected"` // answered with 429 and when to come again
	Aborted    int     `json:"aborted"`  // given up by the client
	Lost       int     `json:"lost"`     // answered in any other way, or not at all
	Identical  bool    `json:"identical"`
	RSS        float64 `json:"rss_mb"`          // highest resident memory of the second half of the load
	FirstRSS   float64 `json:"first_rss_mb"`    // and of the first
	Goroutines int     `json:"goroutines_left"` // that were not there before the server
	FirstLost  string  `json:"first_lost,omitempty"`
}

func (r *Report) String() string {
	return fmt.Sprintf("%.2f images/s; latency %.0f ms, p99 %.0f ms (alone %.0f ms, by the library %.0f ms)\n"+
		"%d requests: %d answered, %d refused, %d given up, %d lost; %d not sent, as too many were in hand; identical: %v\n"+
		"resident memory up to %.0f MB, in the first half up to %.0f MB; %d goroutines left",
		r.Throughput, r.P50, r.P99, r.Lone, r.Library, r.Requests, r.Images, r.Rejected, r.Aborted, r.Lost, r.NotSent, r.Identical,
		r.RSS, r.FirstRSS, r.Goroutines)
}

// kind is a request that is made again and again, with what must come of it.
type kind struct {
	body     []byte
	want     []byte                 // the PNG file
	generate func() ([]byte, error) // makes it by the library alone
}

// bench is a measurement under way.
type bench struct {
	o      Options
	url    string
	client *http.Client
	kinds  []kind
	r      *Report

	mu        sync.Mutex
	latencies []float64
	last      time.Time // when the last image came
}

// Run starts a server, measures its capacity, puts it under load and ends it.
func Run(ctx context.Context, o Options) (*Report, error) {
	runtime.GC()
	before := runtime.NumGoroutine()
	s, err := serve.New(serve.Options{
		Models:    serve.Models([]string{o.Model}),
		Threads:   o.Threads,
		Queue:     o.Queue,
		LocalOnly: true,
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Close()
		return nil, err
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }() // it ends with Close
	b := &bench{
		o:      o,
		url:    "http://" + l.Addr().String() + "/v1/images/generations",
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.Clients}},
		r:      &Report{Policy: "mixed", Identical: true},
	}
	if o.Policy != "" {
		b.r.Policy = o.Policy
	}
	err = b.run(ctx)
	b.client.CloseIdleConnections()
	_ = server.Close() // all requests have been answered
	s.Close()
	if err != nil {
		return nil, err
	}
	// Connections end on goroutines of their own.
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	b.r.Goroutines = max(0, runtime.NumGoroutine()-before)
	return b.r, nil
}

func (b *bench) run(ctx context.Context) error {
	capacity, err := b.beforehand(ctx)
	if err != nil {
		return err
	}
	b.o.OnStage(fmt.Sprintf("requests for %v at %.2f times the capacity of %.2f images/s", b.o.Duration, b.o.Load,
		capacity))
	watched := b.watchMemory()
	err = b.arrive(ctx, b.o.Load*capacity)
	watched()
	if err != nil {
		return err
	}
	slices.Sort(b.latencies)
	b.r.P50, b.r.P99 = percentile(b.latencies, 0.5), percentile(b.latencies, 0.99)
	return nil
}

// percentile returns that of sorted values, 0 of none.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// beforehand makes the images to compare with, and measures the latency of requests alone and the
// capacity, in images per second.
func (b *bench) beforehand(ctx context.Context) (capacity float64, err error) {
	p, suits, err := models.Open(b.o.Model, tokencache.Options{Threads: b.o.Threads})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if b.kinds, err = kindsOf(ctx, b.o, p, suits); err != nil {
		return 0, err
	}
	b.o.OnStage("measuring the capacity")
	if err := b.request(ctx, 0); err != nil { // which opens the model
		return 0, err
	}
	if err := b.alone(ctx); err != nil {
		return 0, err
	}
	return b.capacity(ctx)
}

// alone measures the latency of one request at a time, in turn with the library.
func (b *bench) alone(ctx context.Context) error {
	var requests, library []float64
	for i, k := range b.kinds {
		if err := b.request(ctx, i); err != nil { // which encodes the prompt
			return err
		}
		begin := time.Now()
		if _, err := k.generate(); err != nil {
			return err
		}
		middle := time.Now()
		if err := b.request(ctx, i); err != nil {
			return err
		}
		library, requests = append(library, ms(middle.Sub(begin))), append(requests, ms(time.Since(middle)))
	}
	slices.Sort(requests)
	slices.Sort(library)
	b.r.Lone, b.r.Library = percentile(requests, 0.5), percentile(library, 0.5)
	return nil
}

// capacity measures the rate of eight requests at a time.
func (b *bench) capacity(ctx context.Context) (float64, error) {
	const together, rounds = 8, 2
	begin := time.Now()
	errs := make(chan error, together)
	for i := range together {
		go func() {
			var err error
			for k := range rounds {
				err = errors.Join(err, b.request(ctx, (i+k*together)%len(b.kinds)))
			}
			errs <- err
		}()
	}
	var err error
	for range together {
		err = errors.Join(err, <-errs)
	}
	return together * rounds / time.Since(begin).Seconds(), err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// arrive makes requests at the times of a Poisson process, which wait for nothing that the server
// does: one that arrives while too many are in hand is counted and not sent. Then it waits for the
// answers.
func (b *bench) arrive(ctx context.Context, rate float64) error {
	random := rand.New(rand.NewPCG(b.o.Seed, 0))
	places := make(chan struct{}, b.o.Clients)
	var all sync.WaitGroup
	begin := time.Now()
	b.latencies, b.last = nil, begin
	for at := time.Duration(0); at < b.o.Duration; {
		at += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		select {
		case <-ctx.Done():
			all.Wait()
			return ctx.Err()
		case <-time.After(time.Until(begin.Add(at))):
		}
		which, patience := random.IntN(len(b.kinds)), time.Duration(0)
		if random.Float64() < b.o.Aborts {
			patience = time.Duration((0.05 + random.Float64()) * b.r.Lone * float64(time.Millisecond))
		}
		select {
		case places <- struct{}{}:
		default:
			b.r.NotSent++
			continue
		}
		b.r.Requests++
		all.Go(func() {
			b.one(ctx, which, patience)
			<-places
		})
	}
	all.Wait()
	if b.r.Images > 0 {
		b.r.Throughput = float64(b.r.Images) / b.last.Sub(begin).Seconds()
	}
	return nil
}

// errRejected reports an answer of 429.
var errRejected = errors.New("refused for now")

// one makes a request, which is given up after a time if that is not 0, and notes what came of it.
func (b *bench) one(ctx context.Context, which int, patience time.Duration) {
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	begin := time.Now()
	err := b.request(ctx, which)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.r.Images++
		b.latencies = append(b.latencies, ms(time.Since(begin)))
		b.last = time.Now()
	case errors.Is(err, errRejected):
		b.r.Rejected++
	case ctx.Err() != nil:
		b.r.Aborted++
	default:
		b.r.Lost++
		if b.r.FirstLost == "" {
			b.r.FirstLost = err.Error()
		}
	}
}

// request makes a request and compares its image.
func (b *bench) request(ctx context.Context, which int) error {
	k := b.kinds[which]
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(k.body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") != "":
		return errRejected
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d: %s", answer.StatusCode, strings.TrimSpace(string(body)))
	}
	var got struct {
		Data []struct {
			File []byte `json:"b64_json"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return err
	}
	if len(got.Data) != 1 || !bytes.Equal(got.Data[0].File, k.want) {
		b.mu.Lock()
		b.r.Identical = false
		b.mu.Unlock()
	}
	return nil
}
