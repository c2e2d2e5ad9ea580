package jobs

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// heard returns how many messages the broker has received.
func (b *bench) heard() int64 {
	b.Helper()
	v, err := b.broker.server.Varz(nil)
	if err != nil {
		b.Fatal(err)
	}
	return v.InMsgs
}

// info returns what the broker says of the queue of the bench's job.
func (b *bench) info() *jetstream.ConsumerInfo {
	b.Helper()
	c, err := b.queue.consumer(b.ctx, b.job)
	if err != nil {
		b.Fatal(err)
	}
	return c.CachedInfo()
}

// until waits for a condition.
func (b *bench) until(what string, condition func() bool) {
	b.Helper()
	for !condition() {
		if sleep(b.ctx, 10*time.Millisecond) != nil {
			b.Fatalf("it did not happen that %s", what)
		}
	}
}

// TestQuestions counts what a worker tells and asks the broker: hardly anything while it waits, and
// little for each unit.
func TestQuestions(t *testing.T) {
	b := newBench(t, "")
	stop := b.work("a", &maker{}, nil)
	b.until("the worker waits", func() bool { return b.info().NumWaiting > 0 })
	before := b.heard()
	const seconds = 4
	_ = sleep(b.ctx, seconds*time.Second)
	idle := b.heard() - before
	t.Logf("%d messages of an idle worker in %d seconds", idle, seconds)
	if idle > 2*seconds {
		t.Errorf("%d messages of an idle worker in %d seconds, want at most %d", idle, seconds, 2*seconds)
	}
	stop()
	if _, err := b.queue.Fill(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	before = b.heard()
	b.work("b", &maker{}, nil)
	b.until("all units are done", func() bool {
		parts, err := os.ReadDir(b.dir)
		return err == nil && len(parts) == b.job.Units()
	})
	asked, units := b.heard()-before, int64(b.job.Units())
	t.Logf("%d messages for %d units", asked, units)
	if asked > 8*units { // with those of its start
		t.Errorf("%d messages for %d units, want at most %d", asked, units, 8*units)
	}
}

// TestSecondJob has a worker wait for units of a job when another comes: it does that at once.
func TestSecondJob(t *testing.T) {
	b := newBench(t, "")
	b.work("a", &maker{}, nil)
	b.until("the worker waits", func() bool { return b.info().NumWaiting > 0 })
	start := time.Now()
	b.job = b.other()
	if err := b.queue.Submit(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.coordinate(); err != nil {
		t.Fatal(err)
	}
	b.checkWhole()
	if took := time.Since(start); took > maxWait*2/3 {
		t.Errorf("it took %v", took)
	}
}

// TestWaitCut ends waits just as a unit comes: who waited has it, or the next who waits has it at
// once.
func TestWaitCut(t *testing.T) {
	b := newBench(t, "")
	if err := b.queue.clear(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	b.job.AckWait = time.Hour // nothing comes back because nobody says that it is at it
	b.info()                  // makes the queue
	c, err := b.queue.stream.Consumer(b.ctx, workStream, b.job.ID)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 40
	taken := 0
	for round := range rounds {
		waiting, cut := context.WithCancel(b.ctx)
		came := make(chan *held)
		go func() {
			h, err := next(b.ctx, waiting, c, time.Hour)
			if err != nil {
				t.Error(err)
			}
			came <- h
		}()
		b.until("somebody waits", func() bool { return b.info().NumWaiting > 0 })
		if err := b.queue.push(b.ctx, b.job, round%b.job.Units()); err != nil {
			t.Fatal(err)
		}
		_ = sleep(b.ctx, time.Duration(round%8)*50*time.Microsecond)
		cut()
		h := <-came
		if h != nil {
			taken++
		} else if h, err = next(b.ctx, b.ctx, c, time.Hour); h == nil {
			t.Fatalf("round %d: error %v: the unit was lost", round, err)
		}
		h.release()
		if err := h.DoubleAck(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d units were taken as the wait ended", taken, rounds)
}

// TestEarlierConsumer checks that a queue for fewer workers, of an earlier version, is replaced.
func TestEarlierConsumer(t *testing.T) {
	b := newBench(t, "")
	if err := b.queue.clear(b.ctx, b.job); err != nil {
		t.Fatal(err)
	}
	_, err := b.queue.stream.CreateConsumer(b.ctx, workStream, jetstream.ConsumerConfig{
		Durable:       b.job.ID,
		FilterSubject: workSubject + b.job.ID + ".>",
		AckPolicy:     jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.info().Config.MaxWaiting; got != MaxWaiting {
		t.Errorf("%d workers can wait, want %d", got, MaxWaiting)
	}
}
