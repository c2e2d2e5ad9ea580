package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/median"
)

// EngineOptions says how an engine is measured.
type EngineOptions struct {
	Request  tokencache.Request   // whose sampling and policy are used
	Subjects *tokencache.Subjects // what the images show in turn; nil: all classes
	Repeat   int                  // rounds of the first three figures, alternating; medians are reported
	Arrive   int                  // requests of each of the figures with arrivals
	Seed     uint64               // of the times of arrival
	OnStage  func(what string)
}

// EngineReport is how fast an engine is with requests that come in different ways.
type EngineReport struct {
	Alone      float64 `json:"alone_images_per_s"`       // requests of one image, one after another
	Batch8     float64 `json:"batch8_images_per_s"`      // one request of 8 images
	Concurrent float64 `json:"concurrent8_images_per_s"` // 8 goroutines with one image each
	Joining    float64 `json:"joining_images_per_s"`     // requests of one image at random times, with a backlog that never empties
	P50        float64 `json:"p50_ms"`                   // latency of requests at random times, at loadShare of the capacity
	P99        float64 `json:"p99_ms"`
	Identical  bool    `json:"identical"` // all images equal those generated alone
}

// EngineReports are an engine's figures with a policy, and without any.
type EngineReports struct {
	*EngineReport
	Policy   string        `json:"policy"`
	Uncached *EngineReport `json:"uncached"`
}

// EngineWithAndWithout measures a pipeline's engine with the request's policy, and then without
// any.
func EngineWithAndWithout(ctx context.Context, p *tokencache.Pipeline, o EngineOptions) (*EngineReports, error) {
	r := &EngineReports{Policy: o.Request.Policy.String()}
	stage := o.OnStage
	if stage != nil {
		o.OnStage = func(what string) { stage(r.Policy + ": " + what) }
	}
	var err error
	if r.EngineReport, err = Engine(ctx, p, o); err != nil {
		return nil, err
	}
	o.Request.Policy = nil
	if stage != nil {
		o.OnStage = func(what string) { stage("uncached: " + what) }
	}
	r.Uncached, err = Engine(ctx, p, o)
	return r, err
}

const (
	together  = 8   // images of a request, or requests at a time
	saturated = 1.5 // rate of arrivals over the capacity, for a backlog
	loadShare = 0.8 // likewise, for latencies
)

// engineBench is the state of a measurement.
type engineBench struct {
	p    *tokencache.Pipeline
	o    EngineOptions
	mu   sync.Mutex
	want [][]uint8 // the pixels of each image, generated alone
	same bool
}

// Engine measures a pipeline's engine.
func Engine(ctx context.Context, p *tokencache.Pipeline, o EngineOptions) (*EngineReport, error) {
	if o.Repeat < 1 {
		return nil, &tokencache.FieldError{Field: "Repeat", Value: o.Repeat, Want: "1 or more rounds"}
	}
	if o.Arrive <= together { // a backlog is measured from the arrival of the 8th to that of the last
		return nil, &tokencache.FieldError{Field: "Arrive", Value: o.Arrive, Want: "9 or more requests"}
	}
	var err error
	if o.Subjects, err = p.SubjectsOr(o.Subjects); err != nil {
		return nil, err
	}
	b := &engineBench{p: p, o: o, same: true}
	r := &EngineReport{}
	b.stage("images alone, in a batch and at the same time")
	if err := b.alone(ctx, nil); err != nil { // warms up, and makes the images to compare with
		return nil, err
	}
	var alone, batch, concurrent []float64
	for range o.Repeat {
		for _, m := range []struct {
			run   func(ctx context.Context, rates *[]float64) error
			rates *[]float64
		}{{b.alone, &alone}, {b.batch, &batch}, {b.concurrent, &concurrent}} {
			if err := m.run(ctx, m.rates); err != nil {
				return nil, err
			}
		}
	}
	r.Alone, r.Batch8, r.Concurrent = median.Of(alone), median.Of(batch), median.Of(concurrent)

	b.stage("requests that arrive faster than they are served")
	arrivals, err := b.arrive(ctx, saturated*r.Batch8)
	if err != nil {
		return nil, err
	}
	r.Joining = arrivals.saturatedRate()
	b.stage("requests that arrive at 80 % of the capacity")
	if arrivals, err = b.arrive(ctx, loadShare*r.Batch8); err != nil {
		return nil, err
	}
	r.P50, r.P99 = arrivals.latency(0.5), arrivals.latency(0.99)
	r.Identical = b.same
	return r, nil
}

func (b *engineBench) stage(what string) {
	if b.o.OnStage != nil {
		b.o.OnStage(what)
	}
}

// request asks for one image. Image i has the noise of index i of the seed, as in a request of
// many.
func (b *engineBench) request(i int) tokencache.Request {
	r := b.o.Request
	b.o.Subjects.Cycle(&r, i+1)
	r.Skip = func(index int) bool { return index != i }
	return r
}

// generate makes image i and compares it.
func (b *engineBench) generate(ctx context.Context, i int) error {
	result, err := b.p.Generate(ctx, b.request(i))
	if err == nil {
		b.check(i, result.Images[0].Pixels)
	}
	return err
}

// check compares an image with the one that was generated alone.
func (b *engineBench) check(i int, pixels []uint8) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.same = b.same && slices.Equal(pixels, b.want[i])
}

// alone measures requests one after another. The first time it keeps their images.
func (b *engineBench) alone(ctx context.Context, rates *[]float64) error {
	start := time.Now()
	for i := range together {
		result, err := b.p.Generate(ctx, b.request(i))
		if err != nil {
			return err
		}
		if rates == nil {
			b.want = append(b.want, result.Images[0].Pixels)
		} else {
			b.check(i, result.Images[0].Pixels)
		}
	}
	return b.rate(rates, start)
}

func (b *engineBench) rate(rates *[]float64, start time.Time) error {
	if rates != nil {
		*rates = append(*rates, together/time.Since(start).Seconds())
	}
	return nil
}

// batch measures one request of all images.
func (b *engineBench) batch(ctx context.Context, rates *[]float64) error {
	r := b.o.Request
	b.o.Subjects.Cycle(&r, together)
	start := time.Now()
	result, err := b.p.Generate(ctx, r)
	if err != nil {
		return err
	}
	if err := b.rate(rates, start); err != nil {
		return err
	}
	for i, m := range result.Images {
		b.check(i, m.Pixels)
	}
	return nil
}

// concurrent measures as many requests at the same time.
func (b *engineBench) concurrent(ctx context.Context, rates *[]float64) error {
	start := time.Now()
	errs := make([]error, together)
	var all sync.WaitGroup
	for i := range together {
		all.Go(func() { errs[i] = b.generate(ctx, i) })
	}
	all.Wait()
	return errors.Join(append(errs, b.rate(rates, start))...)
}

// arrivals are when requests came and were served, in seconds from the beginning.
type arrivals struct{ came, served []float64 }

// arrive sends requests at random times, of a Poisson process with a rate a second.
func (b *engineBench) arrive(ctx context.Context, rate float64) (*arrivals, error) {
	random := rand.New(rand.NewPCG(b.o.Seed, 1))
	a := &arrivals{served: make([]float64, b.o.Arrive)}
	at := 0.0
	for range b.o.Arrive {
		a.came = append(a.came, at)
		at += random.ExpFloat64() / rate
	}
	errs := make([]error, b.o.Arrive)
	var all sync.WaitGroup
	start := time.Now()
	for i, at := range a.came {
		wait := time.Until(start.Add(time.Duration(at * float64(time.Second))))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		all.Go(func() {
			errs[i] = b.generate(ctx, i%together)
			a.served[i] = time.Since(start).Seconds()
		})
	}
	all.Wait()
	return a, errors.Join(errs...)
}

// saturatedRate is how many requests a second were served while there was always a backlog: from
// when as many had come as are served together until the last had come.
func (a *arrivals) saturatedRate() float64 {
	from, to := a.came[together-1], a.came[len(a.came)-1]
	n := 0
	for _, t := range a.served {
		if t > from && t <= to {
			n++
		}
	}
	return float64(n) / (to - from)
}

// latency is the quantile q of the time from when a request came until it was served, in
// milliseconds.
func (a *arrivals) latency(q float64) float64 {
	list := make([]float64, len(a.came))
	for i := range list {
		list[i] = 1e3 * (a.served[i] - a.came[i])
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(q*float64(len(list))))]
}
