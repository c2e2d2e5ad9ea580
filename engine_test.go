package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// small opens a small model of pixels, which needs no autoencoder, with weights from a formula: 4
// blocks of width 48, 16 tokens. Many of its sequences share a tick.
func small(t testing.TB, o tokencache.Options) *tokencache.Pipeline {
	t.Helper()
	p, err := openSmall(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func policy(t testing.TB, text string) reuse.Policy {
	t.Helper()
	p, err := reuse.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mixed are requests that differ in all that requests may differ in.
func mixed(t testing.TB) []tokencache.Request {
	return []tokencache.Request{
		{Classes: []int{1, 2}, Seed: 3, Sampling: tokencache.Sampling{Steps: 6, Guidance: 1.5}},
		{Classes: []int{4}, Seed: 4, Policy: policy(t, "tokencache:ratio=0.25,k=3"), Sampling: tokencache.Sampling{Steps: 7, Guidance: 2}},
		{Classes: []int{5, 6, 7}, Seed: 5, Policy: policy(t, "fora:n=2"), Sampling: tokencache.Sampling{Sampler: "ddpm", Steps: 4}},
		{Classes: []int{8}, Seed: 6, Policy: policy(t, "taylorseer:n=3,order=1"), Sampling: tokencache.Sampling{Sampler: "dpm++", Steps: 5, Guidance: 3}},
		{Classes: []int{9, 0}, Seed: 7, Policy: policy(t, "toca:n=2,ratio=0.5"), Sampling: tokencache.Sampling{Steps: 4, Guidance: 1.5, GuidancePower: 2}},
		{Classes: []int{3}, Seed: 8, Policy: policy(t, "tokencache:ratio=0"), Sampling: tokencache.Sampling{Steps: 8, Guidance: 1.5}},
		{Classes: []int{2, 2, 2}, Seed: 9, Batch: 2, Sampling: tokencache.Sampling{Sampler: "ddpm", Steps: 3, Guidance: 1.5, RNG: tokencache.RNGTorch}},
		{Classes: []int{1}, Seed: 10, Policy: policy(t, "tokencache:ratio=0.5,keys=fresh"), Sampling: tokencache.Sampling{Steps: 5, Eta: 0.5}},
	}
}

// sameImages reports images that differ from those wanted.
func sameImages(t *testing.T, what string, got, want []tokencache.Image) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d images, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if got[i].Index != want[i].Index || !slices.Equal(got[i].Latents, want[i].Latents) || !slices.Equal(got[i].Pixels, want[i].Pixels) {
			t.Errorf("%s: image %d differs from the one generated alone", what, i)
		}
	}
}

// TestConcurrent checks that requests of any kind, made at the same time by many goroutines, some
// cancelled, some after the pipeline was closed, get the images that they get alone, or an error.
func TestConcurrent(t *testing.T) {
	before := runtime.NumGoroutine()
	p, err := openSmall(tokencache.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	requests := mixed(t)
	want := make([][]tokencache.Image, len(requests))
	for i, r := range requests {
		want[i] = draw(t, p, r)
	}
	const goroutines, rounds = 8, 10
	var all sync.WaitGroup
	for n := range goroutines {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range rounds {
				i := random.IntN(len(requests))
				what := fmt.Sprintf("goroutine %d, request %d", n, i)
				if random.IntN(4) > 0 {
					r, err := p.Generate(context.Background(), requests[i])
					if err != nil {
						t.Errorf("%s: %v%s", what, err, stackOf(err))
						continue
					}
					sameImages(t, what, r.Images, want[i])
					continue
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(30))*time.Millisecond)
				r, err := p.Generate(ctx, requests[i])
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v%s", what, err, stackOf(err))
				}
				if err == nil {
					sameImages(t, what, r.Images, want[i])
				}
				cancel()
			}
		})
	}
	all.Wait()

	// Closing waits for what runs and refuses what comes after.
	done := make(chan error)
	started := make(chan struct{})
	go func() {
		r := requests[0]
		begin := sync.OnceFunc(func() { close(started) })
		r.OnStep = func(tokencache.Progress) { begin() }
		result, err := p.Generate(context.Background(), r)
		if err == nil {
			sameImages(t, "while closing", result.Images, want[0])
		}
		done <- err
	}()
	<-started
	p.Close()
	if err := <-done; err != nil {
		t.Errorf("a request that ran when the pipeline was closed: %v", err)
	}
	if _, err := p.Generate(context.Background(), requests[1]); !errors.Is(err, tokencache.ErrClosed) {
		t.Errorf("a request after Close: %v", err)
	}
	p.Close()
	noGoroutinesLeft(t, before)
}

// stackOf returns the stack of a panic that an error is.
func stackOf(err error) []byte {
	var p *tokencache.PanicError
	if errors.As(err, &p) {
		return p.Stack
	}
	return nil
}

// noGoroutinesLeft waits until there are no more goroutines than before.
func noGoroutinesLeft(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

// TestThreadsAndTeams checks that however threads are divided among images, these are the same.
func TestThreadsAndTeams(t *testing.T) {
	requests := mixed(t)
	one := small(t, tokencache.Options{Threads: 1})
	for _, threads := range []int{2, 3, 4, 6} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			p := small(t, tokencache.Options{Threads: threads})
			var all sync.WaitGroup
			for i, r := range requests {
				want := draw(t, one, r)
				all.Go(func() {
					result, err := p.Generate(context.Background(), r)
					if err != nil {
						t.Errorf("request %d: %v", i, err)
						return
					}
					sameImages(t, fmt.Sprintf("request %d", i), result.Images, want)
				})
			}
			all.Wait()
		})
	}
}

// TestCostsDoNotDependOnNeighbours checks that a request's steps, rows and FLOPs are counted alike
// alone and with others.
func TestCostsDoNotDependOnNeighbours(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	requests := mixed(t)
	cost := func(r *tokencache.Result) reuse.Cost {
		c := r.Stats.Cost
		c.Seconds, c.CacheBytes = 0, 0
		return c
	}
	want := make([]reuse.Cost, len(requests))
	for i, r := range requests {
		result, err := p.Generate(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		want[i] = cost(result)
	}
	var all sync.WaitGroup
	for i, r := range requests {
		all.Go(func() {
			result, err := p.Generate(context.Background(), r)
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			} else if got := cost(result); got != want[i] {
				t.Errorf("request %d: %+v, alone %+v", i, got, want[i])
			}
		})
	}
	all.Wait()
}

// TestEstimate checks that an estimate says what generating then takes.
func TestEstimate(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	for i, r := range mixed(t) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			needs, err := p.Estimate(r)
			if err != nil {
				t.Fatal(err)
			}
			result, err := p.Generate(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Stats.UncachedFLOPs; got != needs.UncachedFLOPs {
				t.Errorf("%d uncached FLOPs, estimated %d", got, needs.UncachedFLOPs)
			}
			if got := result.Stats.CacheBytes; got > needs.CacheBytes {
				t.Errorf("%d bytes of caches, estimated %d", got, needs.CacheBytes)
			}
			if needs.FLOPs > needs.UncachedFLOPs || needs.FLOPs <= 0 || needs.ActivationBytes <= 0 {
				t.Errorf("estimated %+v", needs)
			}
		})
	}
	if n := testing.AllocsPerRun(3, func() { p.Check(tokencache.Request{Classes: make([]int, 512), Batch: 512}) }); n > 100 {
		t.Errorf("Check makes %v allocations", n)
	}
}

// TestLimits checks that what can never fit is refused at once, that the queue is bounded, and that
// a request waits until its place is free.
func TestLimits(t *testing.T) {
	r := tokencache.Request{Classes: []int{1, 2, 3}, Policy: policy(t, "taylorseer:n=3,order=1"), Sampling: tokencache.Sampling{Steps: 4, Guidance: 1.5}}
	for what, c := range map[string]struct {
		limits tokencache.Limits
		change func(r *tokencache.Request)
	}{
		"cache memory": {change: func(r *tokencache.Request) { r.CacheMemory = 1 }},
		"memory":       {limits: tokencache.Limits{Memory: 1 << 10}},
		"rows a tick":  {limits: tokencache.Limits{Rows: 10}},
	} {
		t.Run(what, func(t *testing.T) {
			p := small(t, tokencache.Options{Threads: 1, Limits: c.limits})
			r := r
			if c.change != nil {
				c.change(&r)
			}
			var limit *tokencache.LimitError
			if _, err := p.Generate(context.Background(), r); !errors.As(err, &limit) || limit.What != what || limit.Need <= limit.Limit {
				t.Errorf("error %v, want a LimitError of %s", err, what)
			}
		})
	}
	want := draw(t, small(t, tokencache.Options{Threads: 1}), r)
	t.Run("one at a time", func(t *testing.T) {
		p := small(t, tokencache.Options{Threads: 2, Limits: tokencache.Limits{Rows: 32}})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				result, err := p.Generate(context.Background(), r)
				if err != nil {
					t.Error(err)
					return
				}
				sameImages(t, "one at a time", result.Images, want)
			})
		}
		all.Wait()
	})
	t.Run("queue", func(t *testing.T) {
		p := small(t, tokencache.Options{Threads: 1, Limits: tokencache.Limits{Rows: 32, Queue: 1}})
		running, wait := make(chan struct{}), make(chan struct{})
		r := r
		first := sync.OnceFunc(func() { close(running); <-wait })
		slow := r
		slow.OnStep = func(tokencache.Progress) { first() }
		var all sync.WaitGroup
		all.Go(func() { p.Generate(context.Background(), slow) })
		<-running
		// Two more: one waits, whichever comes first, and the other finds the queue full.
		refused := make(chan error, 2)
		for range 2 {
			all.Go(func() {
				_, err := p.Generate(context.Background(), r)
				refused <- err
			})
		}
		var overloaded *tokencache.OverloadedError
		if err := <-refused; !errors.As(err, &overloaded) || overloaded.Limit != 1 {
			t.Errorf("error %v, want an OverloadedError", err)
		}
		close(wait)
		all.Wait()
		if err := <-refused; err != nil {
			t.Errorf("the request that waited: %v", err)
		}
	})
}

// TestCancelledRequest checks that cancelling a request leaves those that share its ticks alone.
func TestCancelledRequest(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	requests := mixed(t)
	want := draw(t, p, requests[1])
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		doomed := requests[0]
		doomed.OnStep = func(s tokencache.Progress) {
			if s.Step == 2 {
				cancel()
			}
		}
		var all sync.WaitGroup
		all.Go(func() {
			if r, err := p.Generate(ctx, doomed); !errors.Is(err, context.Canceled) || len(r.Images) != 0 {
				t.Errorf("a cancelled request: %v", err)
			}
		})
		all.Go(func() {
			r, err := p.Generate(context.Background(), requests[1])
			if err != nil {
				t.Error(err)
				return
			}
			sameImages(t, "next to a cancelled request", r.Images, want)
		})
		all.Wait()
	}
}

// TestShutdown checks that Shutdown cancels what still runs when its context is done.
func TestShutdown(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	running := make(chan struct{})
	begin := sync.OnceFunc(func() { close(running) })
	r := tokencache.Request{Classes: make([]int, 1000), Sampling: tokencache.Sampling{Steps: 50}}
	r.OnStep = func(tokencache.Progress) { begin() }
	done := make(chan error)
	go func() {
		_, err := p.Generate(context.Background(), r)
		done <- err
	}()
	<-running
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-done; !errors.Is(err, tokencache.ErrClosed) {
		t.Errorf("the request that ran: %v", err)
	}
}

// faulty is a policy whose state panics: at a step, in Begin or in the middle of a pass.
type faulty struct {
	reuse.None
	at    int
	begin bool
}

type faultyRun struct {
	policy *faulty
	reuse.Run
	position int
}

func (f *faulty) String() string { return "faulty" }
func (f *faulty) NewRun(m seam.Model, plan reuse.Plan, samples int) (reuse.Run, error) {
	run, err := f.None.NewRun(m, plan, samples)
	return &faultyRun{policy: f, Run: run}, err
}
func (r *faultyRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	if r.position = positions[0]; r.position == r.policy.at && r.policy.begin {
		panic("a mistake in Begin")
	}
	r.Run.Begin(g, b, positions)
}
func (r *faultyRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }
func (r *faultyRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if r.position == r.policy.at && at.Block == 3 {
		panic("a mistake in Apply")
	}
	return f(x)
}

// TestPanics checks that a panic of one request's policy is an error of that request alone, whoever
// shared its ticks, and that the engine goes on.
func TestPanics(t *testing.T) {
	requests := mixed(t)
	for _, threads := range []int{1, 2, 4} {
		for _, begin := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d threads, in Begin %t", threads, begin), func(t *testing.T) {
				p := small(t, tokencache.Options{Threads: threads})
				var want [][]tokencache.Image
				for _, r := range requests[:4] {
					want = append(want, draw(t, p, r))
				}
				bad := tokencache.Request{Classes: []int{1, 2}, Policy: &faulty{at: 2, begin: begin}, Sampling: tokencache.Sampling{Steps: 4}}
				var all sync.WaitGroup
				for range 2 {
					all.Go(func() {
						var panicked *tokencache.PanicError
						if _, err := p.Generate(context.Background(), bad); !errors.As(err, &panicked) || !strings.Contains(err.Error(), "a mistake in") || len(panicked.Stack) == 0 {
							t.Errorf("the request whose policy panics: %v", err)
						}
					})
				}
				for i, r := range requests[:4] {
					all.Go(func() {
						result, err := p.Generate(context.Background(), r)
						if err != nil {
							t.Errorf("request %d: %v", i, err)
							return
						}
						sameImages(t, fmt.Sprintf("request %d next to one that panics", i), result.Images, want[i])
					})
				}
				all.Wait()
				sameImages(t, "afterwards", draw(t, p, requests[0]), want[0])
			})
		}
	}
}

// TestSlowConsumer checks that a consumer that waits holds up its own request and no other.
func TestSlowConsumer(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	wait, waiting := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(waiting); <-wait })
	var all sync.WaitGroup
	all.Go(func() {
		n := 0
		for _, err := range p.Images(context.Background(), tokencache.Request{Classes: make([]int, 40), Sampling: tokencache.Sampling{Steps: 2}}) {
			if err != nil {
				t.Error(err)
			}
			n++
			first()
		}
		if n != 40 {
			t.Errorf("%d images, want 40", n)
		}
	})
	<-waiting
	sameImages(t, "next to a slow consumer", draw(t, p, mixed(t)[0]), draw(t, small(t, tokencache.Options{Threads: 1}), mixed(t)[0]))
	close(wait)
	all.Wait()
}

// TestImagesStops checks that breaking off the loop over Images cancels the request.
func TestImagesStops(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	n := 0
	for img, err := range p.Images(context.Background(), tokencache.Request{Classes: make([]int, 1000), Sampling: tokencache.Sampling{Steps: 2}}) {
		if err != nil || img.Bounds().Dx() != 8 {
			t.Fatalf("image of width %d: %v", img.Bounds().Dx(), err)
		}
		if n++; n == 3 {
			break
		}
	}
	draw(t, p, mixed(t)[0])
	for _, err := range p.Images(context.Background(), tokencache.Request{}) {
		var field *tokencache.FieldError
		if !errors.As(err, &field) || field.Field != "Classes" {
			t.Errorf("error %v", err)
		}
	}
}

// TestShare checks that pipelines over the same weights generate the same images, and that one goes
// on when the other is closed.
func TestShare(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	q, err := p.Share(tokencache.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := draw(t, p, mixed(t)[1])
	p.Close()
	sameImages(t, "shared weights", draw(t, q, mixed(t)[1]), want)
	q.Close()
}

// TestMemoryGoesBack checks that after a large request a pipeline holds little more than one that
// never had one.
func TestMemoryGoesBack(t *testing.T) {
	w, err := models.ResolveWeights(t.Context(), "fashion", dit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	resident := func(large bool) uint64 {
		p, err := tokencache.FromWeights(w, tokencache.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		one := tokencache.Request{Classes: []int{1}, Policy: policy(t, "taylorseer:n=2,order=2"), Sampling: tokencache.Sampling{Steps: 1, Guidance: 1.5}}
		if large {
			many := one
			many.Classes, many.Batch = make([]int, 256), 256
			draw(t, p, many)
		}
		for range 3 {
			draw(t, p, one)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := resident(false)
	if after := resident(true); float64(after) > 1.3*float64(before) {
		t.Errorf("%d bytes after a batch of 256, %d without", after, before)
	}
}

// TestNotFinite checks that numbers that are not finite never become an image.
func TestNotFinite(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	r := tokencache.Request{Classes: []int{1}, Noise: make([]float32, 3*8*8), Sampling: tokencache.Sampling{Steps: 2, Guidance: 1e38}}
	for i := range r.Noise {
		r.Noise[i] = float32(i%7) * 1e37
	}
	var bad *tokencache.NotFiniteError
	if _, err := p.Generate(context.Background(), r); !errors.As(err, &bad) {
		t.Errorf("error %v, want a NotFiniteError", err)
	}
}

func openSmall(o tokencache.Options) (*tokencache.Pipeline, error) {
	c := dit.Config{InputSize: 8, PatchSize: 2, InChannels: 3, Hidden: 48, Depth: 4, Heads: 4, MLPHidden: 192, NumClasses: 10, LearnSigma: true}
	var source formula.Source
	content := checkpoint.Content{Read: source.Read}
	for _, w := range c.Tensors() {
		if w.Name == "pos_embed" {
			continue
		}
		source.Add(w.Name, w.Shape...)
		content.Tensors = append(content.Tensors, checkpoint.Info{Name: w.Name, DType: checkpoint.F32, Shape: w.Shape})
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("tokencache-small-%d.safetensors", os.Getpid()))
	defer os.Remove(path)
	if err := checkpoint.WriteSafetensors(path, content); err != nil {
		return nil, err
	}
	o.Heads, o.InputSize = c.Heads, c.InputSize
	return tokencache.Open(path, o)
}

// TestOldestFirst checks that images that were begun are finished before later ones go on: when the
// first of 64 images is done, those of the tick after next have not been begun.
func TestOldestFirst(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	const images, steps = 64, 6
	request := tokencache.Request{
		Classes:  make([]int, images),
		Batch:    images, // in flight together
		Sampling: tokencache.Sampling{Steps: steps, Guidance: 1.5},
	}
	taken := 0
	request.OnStep = func(s tokencache.Progress) {
		if s.Done == 0 {
			taken = s.Taken
		}
	}
	if _, err := p.Generate(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if taken > images*steps/2 {
		t.Errorf("%d of %d steps were taken before the first image was done, want a quarter", taken, images*steps)
	}
}
