package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tokencache/tokencache/internal/filelock"
	"github.com/tokencache/tokencache/shard"
)

// Maker makes the parts of jobs that are runs.
type Maker interface {
	// Prepare makes ready for a job, or says why this worker cannot give what it needs.
	Prepare(ctx context.Context, j *Job) error
	// Make writes the part of a span into the folder dir and returns its path.
	Make(ctx context.Context, j *Job, s shard.Span, dir string) (path string, err error)
}

// Work is how a worker works.
type Work struct {
	Queue   *Queue
	Worker  *Worker
	Maker   Maker
	Kinds   map[string]Kind // that do tasks
	Scratch string          // folder for what is being made; it is the worker's alone
	Idle    time.Duration   // without a job for so long it ends; 0: never
	Note    func(format string, args ...any)
}

// maxTake bounds how long a worker waits for a unit before it looks for other jobs.
const maxTake = time.Second

// Run takes units of all jobs whose needs the worker meets, until ctx is done. A unit that it has
// then is given back.
func (w *Work) Run(ctx context.Context) error {
	lock, err := w.claimScratch()
	if err != nil {
		return err
	}
	defer lock.Release()
	announced := make(chan struct{})
	defer func() { <-announced }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	state := &workerState{said: *w.Worker}
	go func() {
		defer close(announced)
		w.announce(ctx, state)
	}()
	unfit, since := map[string]string{}, time.Now()
	for ctx.Err() == nil {
		worked, err := w.round(ctx, state, unfit)
		if err != nil && ctx.Err() == nil {
			if !unreachable(err) {
				w.Note("%v", err)
			}
			_ = sleep(ctx, reconnectWait)
		}
		if worked {
			since = time.Now()
		}
		if w.Idle > 0 && time.Since(since) > w.Idle {
			return nil
		}
	}
	return ctx.Err()
}

// claimScratch makes the worker's folder its own and empties it.
func (w *Work) claimScratch() (*filelock.Lock, error) {
	if err := os.MkdirAll(w.Scratch, 0o777); err != nil {
		return nil, err
	}
	lock, err := filelock.Acquire(w.Scratch + ".lock")
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", w.Scratch, err)
	}
	return lock, errors.Join(os.RemoveAll(w.Scratch), os.MkdirAll(w.Scratch, 0o777))
}

// round works on one unit of each open job that the worker can do, and reports whether there was
// one.
func (w *Work) round(ctx context.Context, s *workerState, unfit map[string]string) (worked bool, err error) {
	all, err := w.Queue.Jobs(ctx)
	if err != nil {
		return false, err
	}
	fit := 0
	for _, j := range all {
		if j.State != Open || !w.fits(ctx, j, unfit) {
			continue
		}
		fit++
		did, err := w.take(ctx, s, j)
		worked = worked || did
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrConsumerDeleted) {
			return worked, err
		}
	}
	if fit == 0 {
		_ = sleep(ctx, min(maxTake, 2*reconnectWait))
	}
	return worked, nil
}

// fits reports whether the worker can do a job. It says why not once.
func (w *Work) fits(ctx context.Context, j *Job, unfit map[string]string) bool {
	if _, known := unfit[j.ID]; known {
		return unfit[j.ID] == ""
	}
	why := j.Needs.Lacks(w.Worker)
	if why == "" {
		if err := w.prepare(ctx, j); ctx.Err() != nil {
			return false
		} else if err != nil {
			why = err.Error()
		}
	}
	if unfit[j.ID] = why; why != "" {
		w.Note("job %s is not for this worker: %s", j.ID, why)
	}
	return why == ""
}

// prepare makes ready for a job, or says why this worker cannot do it.
func (w *Work) prepare(ctx context.Context, j *Job) error {
	if j.Tasks == nil {
		return w.Maker.Prepare(ctx, j)
	}
	kind := w.Kinds[j.Tasks.Kind]
	if kind == nil {
		return fmt.Errorf("it knows no tasks of kind %q", j.Tasks.Kind)
	}
	return kind.Prepare(ctx, j)
}

// take takes one unit of a job from the queue, if there is one, and does it.
func (w *Work) take(ctx context.Context, s *workerState, j *Job) (bool, error) {
	c, err := w.Queue.stream.Consumer(ctx, workStream, j.ID)
	if err != nil {
		return false, err
	}
	batch, err := c.Fetch(1, jetstream.FetchMaxWait(maxTake))
	if err != nil {
		return false, err
	}
	worked := false
	for m := range batch.Messages() {
		worked = true
		if err := w.do(ctx, s, j, m); err != nil {
			return true, err
		}
	}
	err = batch.Error()
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		err = nil
	}
	return worked, err
}

// do does the unit of a message and says so to the queue.
func (w *Work) do(ctx context.Context, s *workerState, j *Job, m jetstream.Msg) error {
	unit, err := j.unitOf(m.Subject())
	if err != nil {
		return errors.Join(err, m.TermWithReason(err.Error()))
	}
	beating, stop := context.WithCancel(ctx)
	defer stop()
	go beat(beating, m, j.AckWait/3)
	start := time.Now()
	s.at(j, unit)
	err = w.make(ctx, j, unit)
	stop()
	if ctx.Err() != nil {
		s.at(nil, 0)
		return errors.Join(ctx.Err(), m.Nak()) // for another worker, at once
	}
	if err != nil {
		s.at(nil, 0)
		return w.failed(ctx, j, unit, m, err)
	}
	s.made(j.Span(unit).Len(), time.Since(start))
	// The result is in the store: if this is not heard the unit is done again or found done.
	acked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return m.DoubleAck(acked)
}

// beat says of a message, every so often, that it is being worked on.
func beat(ctx context.Context, m jetstream.Msg, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = m.InProgress() // while the broker is away it gives the unit to nobody else
		}
	}
}

// make makes a unit's result and brings it into the store, unless it is there.
func (w *Work) make(ctx context.Context, j *Job, unit int) (err error) {
	defer func() {
		if x := recover(); x != nil { // of a model or a policy: the worker goes on
			err = fmt.Errorf("panic: %v", x)
		}
	}()
	store, err := w.Queue.OpenStore(ctx, j.Store)
	if err != nil {
		return err
	}
	name := j.Result(unit)
	there, err := store.Names(ctx)
	if err != nil || there[name] {
		return err
	}
	path, err := w.result(ctx, j, unit)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if got := filepath.Base(path); got != name {
		return fmt.Errorf("unit %d: the part made is %s, want %s: it is of another run", unit, got, name)
	}
	if err := j.verify(path); err != nil {
		return err
	}
	return store.Put(ctx, path)
}

// result makes the file of a unit's result in the worker's folder and returns its path.
func (w *Work) result(ctx context.Context, j *Job, unit int) (string, error) {
	if j.Tasks == nil {
		return w.Maker.Make(ctx, j, j.Span(unit), w.Scratch)
	}
	result, err := w.Kinds[j.Tasks.Kind].Run(ctx, j, j.Tasks.List[unit])
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.Scratch, j.Result(unit))
	return path, writeResult(path, result)
}

// failed gives a unit back after a time, or sets it aside if it had all its attempts.
func (w *Work) failed(ctx context.Context, j *Job, unit int, m jetstream.Msg, cause error) error {
	f := Failure{Job: j.ID, Unit: unit, Worker: w.Worker.Name, Cause: cause.Error()}
	w.Note("job %s, unit %d: %v", j.ID, unit, cause)
	_ = w.Queue.conn.Publish(eventSubject+j.ID, encode(f)) // for who listens
	about, err := m.Metadata()
	if err != nil {
		return err
	}
	if about.NumDelivered < uint64(j.Attempts) {
		return m.NakWithDelay(min(j.AckWait, time.Duration(about.NumDelivered)*time.Second))
	}
	if err := w.Queue.setAside(ctx, j, f); err != nil {
		return err
	}
	return m.TermWithReason(f.Cause)
}
