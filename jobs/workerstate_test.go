package jobs

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokencache/tokencache/shard"
)

// TestSeveral checks how many units a worker takes at a time after its last one.
func TestSeveral(t *testing.T) {
	job, other := &Job{ID: "a", Size: 10}, &Job{ID: "b", Size: 10}
	for _, c := range []struct {
		name string
		of   *Job
		took time.Duration // 10 images
		want int
	}{
		{"as the units were sized for", job, takenSeconds * time.Second, 1},
		{"slower", job, time.Hour, 1},
		{"four times as fast", job, takenSeconds * time.Second / 4, 4},
		{"much faster", job, time.Millisecond, maxTaken},
		{"at another job", other, time.Millisecond, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &workerState{}
			s.made(job, 10, c.took)
			if got := s.several(c.of); got != c.want {
				t.Errorf("%d units, want %d", got, c.want)
			}
		})
	}
}

// TestTakesSeveral has a fast worker stop in the middle of the units that it holds: it gives all
// back, and another does them at once.
func TestTakesSeveral(t *testing.T) {
	b := newBench(t, "")
	b.job = New(nil, testRun(200), 2, b.dir, needs)
	b.job.AckWait = time.Minute // nothing comes back because it was silent
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	held := func() int {
		c, err := b.queue.consumer(b.ctx, b.job)
		if err != nil {
			return 0
		}
		info, err := c.Info(b.ctx)
		if err != nil {
			return 0
		}
		return info.NumAckPending
	}
	several := make(chan bool, 200)
	fast := &maker{before: func(ctx context.Context, _ shard.Span) error {
		if held() < 2 { // until what it has measured has it take several
			return nil
		}
		several <- true
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := b.work("fast", fast, nil)
	var took atomic.Bool
	go func() {
		select {
		case <-several:
			took.Store(true)
			stop()
			b.work("other", &maker{}, nil)
		case <-b.ctx.Done():
		}
	}()
	if _, err := b.coordinate(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if !took.Load() {
		t.Error("the worker never held several units")
	}
	b.checkWhole()
}

// TestModels checks that a worker says which models it has opened.
func TestModels(t *testing.T) {
	b := newBench(t, "")
	b.job.Needs.Model = "f00d"
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	b.work("a", &maker{}, nil)
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	var models []string
	for len(models) == 0 && sleep(b.ctx, 20*time.Millisecond) == nil {
		workers, err := b.queue.Workers(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range workers {
			models = append(models, w.Models...)
		}
	}
	if !slices.Equal(models, []string{"f00d"}) {
		t.Errorf("models %v", models)
	}
}
