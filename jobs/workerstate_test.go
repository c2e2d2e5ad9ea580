package jobs

import (
	"context"
	"errors"
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
	begun := make(chan bool, 200)
	n := 0
	fast := &maker{before: func(ctx context.Context, _ shard.Span) error {
		if n++; n < 3 {
			return nil // what it takes third are several
		}
		begun <- true
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := b.work("fast", fast, nil)
	go func() {
		<-begun
		held := 0
		if c, err := b.queue.consumer(b.ctx, b.job); err == nil {
			if info, err := c.Info(b.ctx); err == nil {
				held = info.NumAckPending
			}
		}
		if held < 2 {
			b.Errorf("the fast worker holds %d units, want several", held)
		}
		stop()
		b.work("other", &maker{}, nil)
	}()
	if _, err := b.coordinate(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.checkWhole()
}
