package jobs

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// newBoard returns a board that follows the broker.
func (b *bench) newBoard(check time.Duration) *board {
	b.Helper()
	ctx, stop := context.WithCancel(b.ctx)
	board, q := newBoard(ctx), b.open()
	board.check = check
	var wait sync.WaitGroup
	wait.Go(func() { board.follow(ctx, q, func(string, ...any) {}) })
	b.Cleanup(func() { stop(); wait.Wait() })
	return board
}

// shows waits until a board has jobs of these states, sorted by their identifiers.
func (b *bench) shows(board *board, want ...State) {
	b.Helper()
	for {
		var got []State
		jobs, current := board.list()
		for _, j := range jobs {
			got = append(got, j.State)
		}
		if slices.Equal(got, want) {
			return
		}
		if <-current.Done(); b.ctx.Err() != nil {
			b.Fatalf("jobs %v on the board, want %v", got, want)
		}
	}
}

// other is a second job, of an identifier after that of the bench's job.
func (b *bench) other() *Job {
	j := New(nil, testRun(28), 3, b.dir, needs)
	j.ID = strings.Repeat("f", idDigits)
	return j
}

// TestBoard checks that a board hears of jobs that come, change and go, also after the broker was
// lost with all that it kept.
func TestBoard(t *testing.T) {
	b := newBench(t, "")
	board := b.newBoard(time.Hour)
	b.shows(board, Open)
	if err := b.queue.Submit(b.ctx, b.other()); err != nil {
		t.Fatal(err)
	}
	b.shows(board, Open, Open)
	if err := b.queue.Finish(b.ctx, b.job, Cancelled); err != nil {
		t.Fatal(err)
	}
	b.shows(board, Cancelled, Open)
	if err := b.queue.Forget(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	b.shows(board, Open)
	address := strings.TrimPrefix(b.broker.URL(), "nats://")
	b.broker.Stop()
	b.start(address, t.TempDir())
	b.queue = b.open()
	b.shows(board)
	for _, j := range []*Job{b.job, b.other()} {
		j.State = Open
		if err := b.queue.Submit(b.ctx, j); err != nil {
			t.Fatal(err)
		}
	}
	b.shows(board, Open, Open)
}

// TestBoardChecks has the broker forget the watch of a board without a word: the board finds out.
func TestBoardChecks(t *testing.T) {
	b := newBench(t, "")
	board := b.newBoard(100 * time.Millisecond)
	b.shows(board, Open)
	bucket, err := b.queue.stream.Stream(b.ctx, "KV_"+jobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	names := bucket.ConsumerNames(b.ctx)
	for name := range names.Name() {
		if err := bucket.DeleteConsumer(b.ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := b.queue.Submit(b.ctx, b.other()); err != nil {
		t.Fatal(err)
	}
	b.shows(board, Open, Open)
	if took := time.Since(start); took > 10*time.Second { // the client library finds out after 10 or 20
		t.Errorf("it took %v", took)
	}
}
