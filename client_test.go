package tokencache_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/tokencache/tokencache"
)

// TestClientsShare checks that a client which comes late is served next to one with much work in
// flight, in proportion to the weights, and that this changes no image.
func TestClientsShare(t *testing.T) {
	for _, test := range []struct {
		name        string
		weight      float64
		least, most int // ticks, full of steps of the other, in which the late one takes 12 steps
	}{{"equal", 1, 11, 15}, {"a small weight", 1. / 64, 25, 80}} {
		t.Run(test.name, func(t *testing.T) {
			p := small(t, tokencache.Options{Threads: 1, Limits: tokencache.Limits{Rows: 1 << 20}})
			sampling := tokencache.Sampling{Steps: 60, Guidance: 1.5}
			heavy := tokencache.Request{Classes: make([]int, 60), Batch: 60, Seed: 1, Sampling: sampling,
				Client: &tokencache.Client{}}
			late := tokencache.Request{Classes: []int{3}, Seed: 2, Sampling: sampling, Client: &tokencache.Client{}}
			late.Steps = 12
			late.Client.SetWeight(test.weight)
			want := draw(t, p, late)

			var mu sync.Mutex
			others, before, finished := 0, 0, false
			started := make(chan struct{})
			begin := sync.OnceFunc(func() {
				close(started)
				before = others
				for p.Load().Images == len(heavy.Classes) { // the late one comes before any of them is finished
					runtime.Gosched()
				}
			})
			heavy.OnStep = func(s tokencache.Progress) {
				mu.Lock()
				defer mu.Unlock()
				if s.Taken > 400 {
					begin()
				}
				if !finished {
					others++
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				_, err := p.Generate(ctx, heavy)
				done <- err
			}()
			<-started
			late.OnStep = func(s tokencache.Progress) {
				mu.Lock()
				defer mu.Unlock()
				if s.Taken == 12 {
					finished = true
				}
			}
			r, err := p.Generate(t.Context(), late)
			if err != nil {
				t.Fatal(err)
			}
			sameImages(t, "late", r.Images, want)
			const inTick = 512 / 32 // a tick holds several sequences of 32 rows
			got := float64(others-before) / inTick
			if got < 0.9*float64(test.least) || got > float64(test.most) {
				t.Errorf("%.1f ticks of the other client, want %d to %d", got, test.least, test.most)
			}
			cancel()
			<-done
		})
	}
}

// TestOnComputed checks which tokens of an image a policy is said to compute: all where nothing is
// reused, and in all as many as its cost counts.
func TestOnComputed(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 2})
	for _, text := range []string{
		"none", "fora:n=2", "tokencache:ratio=0.25,k=3", "tokencache:ratio=0,k=2", "toca:n=2,ratio=0.5", "teacache:threshold=0.1",
		"taylorseer:n=3,order=1", "duca:n=2", "deltadit:n=2",
	} {
		t.Run(text, func(t *testing.T) {
			req := tokencache.Request{
				Classes:  []int{1, 2},
				Seed:     5,
				Sampling: tokencache.Sampling{Steps: 9, Guidance: 1.5},
				Policy:   policy(t, text),
			}
			want := draw(t, p, req)
			sum, steps, partly := 0.0, 0, false
			req.OnComputed = func(index, position int, computed []float32) {
				if len(computed) != p.Config().Tokens() || position < 0 || position >= 9 {
					t.Errorf("position %d, %d tokens", position, len(computed))
				}
				steps++
				partly = partly || slices.Max(computed)-slices.Min(computed) > 0.01
				for _, c := range computed {
					sum += float64(c) / float64(len(computed))
				}
			}
			r, err := p.Generate(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			sameImages(t, text, r.Images, want)
			if steps != 18 {
				t.Errorf("told of %d steps, want 18", steps)
			}
			if got, want := sum/float64(steps), r.Stats.TokensShare; got < want-0.02 || got > want+0.02 {
				t.Errorf("%.3f of the tokens, the cost counts %.3f", got, want)
			}
			t.Logf("share %.3f, tokens differ: %v", sum/float64(steps), partly)
		})
	}
}
