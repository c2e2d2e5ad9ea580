package jobs

import (
	"errors"
	"os"
	"testing"
	"time"
)

// watch watches the job until it has ended, and returns the last that was said.
func (b *bench) watch() (*Status, error) {
	var last *Status
	c := &Coordinator{Queue: b.queue, Every: 20 * time.Millisecond, OnStatus: func(s *Status) { last = s }}
	err := c.Watch(b.ctx, b.job)
	return last, err
}

// TestWatch watches a job that nobody looks after: it is done all the same.
func TestWatch(t *testing.T) {
	b := newBench(t, "")
	b.work("a", &maker{}, nil)
	if _, err := b.watch(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
	if j, err := b.queue.Job(b.ctx, b.job.ID); err != nil || j.State != Done {
		t.Errorf("%v, %v: want a job that is done", j, err)
	}
	if last, err := b.watch(); err != nil || last.State != Done || last.Made != 28 {
		t.Errorf("status %v, %v: want a job that is done", last, err)
	}
}

// TestWatchCancelled watches a job that is cancelled, and that is retried then.
func TestWatchCancelled(t *testing.T) {
	b := newBench(t, "")
	if _, err := b.queue.Fill(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Finish(b.ctx, b.job, Cancelled); err != nil {
		t.Fatal(err)
	}
	if last, err := b.watch(); err != nil || last.State != Cancelled || last.Units != 10 {
		t.Errorf("status %v, %v: want a job that is cancelled", last, err)
	}
	if err := b.queue.Retry(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	b.work("a", &maker{}, nil)
	if last, err := b.watch(); err != nil || last.State == Cancelled {
		t.Errorf("status %v, %v: want a job that is done", last, err)
	}
	b.checkWhole()
}

// TestWatchElsewhere watches a job whose folder another machine has.
func TestWatchElsewhere(t *testing.T) {
	b := newBench(t, "/nonexistent/parts")
	if last, err := b.watch(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("status %v, error %v: want that the store is not here", last, err)
	}
}
