package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

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
	Cache   *Cache          // of inputs; nil: it fetches none
	Scratch string          // folder for what is being made; it is the worker's alone
	Idle    time.Duration   // without a job for so long it ends; 0: never
	Note    func(format string, args ...any)

	board     *board
	unfit     map[string]string             // why it cannot do a job; "": it can
	consumers map[string]jetstream.Consumer // of jobs
	stores    map[string]Store
}

const (
	// maxWait bounds how long a worker waits for a unit before it looks again which jobs there are.
	maxWait = 30 * time.Second
	// waitHeartbeat is how often the broker says that it waits still.
	waitHeartbeat = 5 * time.Second
	// pause is how long a worker does nothing for which there is no queue.
	pause = time.Second
)

// Run takes units of all jobs whose needs the worker meets, until ctx is done. A unit that it has
// then is given back.
func (w *Work) Run(ctx context.Context) error {
	lock, err := w.claimScratch()
	if err != nil {
		return err
	}
	defer lock.Release()
	var background sync.WaitGroup
	defer background.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w.board, w.unfit = newBoard(ctx), map[string]string{}
	w.consumers, w.stores = map[string]jetstream.Consumer{}, map[string]Store{}
	state := &workerState{said: *w.Worker}
	background.Go(func() { w.announce(ctx, state) })
	background.Go(func() { w.board.follow(ctx, w.Queue, w.Note) })
	since := time.Now()
	for ctx.Err() == nil {
		wait := maxWait
		if w.Idle > 0 {
			wait = min(wait, w.Idle-time.Since(since))
		}
		worked, err := w.round(ctx, state, wait)
		if err != nil && ctx.Err() == nil {
			if !w.Queue.passes(ctx, err) {
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

// round works on units of each open job that the worker can do, and reports whether there were any.
// If there are none it waits for one, at most so long, or until the jobs change.
func (w *Work) round(ctx context.Context, s *workerState, wait time.Duration) (worked bool, err error) {
	all, current := w.board.list()
	var fit []*Job
	for _, j := range all {
		if j.State != Open {
			continue
		}
		if !w.fits(ctx, s, j) {
			if w.unfit[j.ID] == "" { // it may fit later
				wait = min(wait, pause)
			}
			continue
		}
		switch err := w.meet(ctx, j); {
		case err == nil:
			fit = append(fit, j)
		case !errors.Is(err, jetstream.ErrConsumerNotFound): // else it has ended, or is being retried
			return false, err
		}
	}
	if len(fit) == 0 {
		_ = sleep(current, min(wait, pause))
		return false, nil
	}
	if len(fit) > 1 || s.several(fit[0]) > 1 { // else it is the same to wait for the next unit
		for _, j := range fit {
			did, err := w.take(ctx, s, j)
			worked = worked || did
			if err != nil {
				return worked, err
			}
		}
	}
	if worked {
		return true, nil
	}
	current, cancel := context.WithTimeout(current, wait)
	defer cancel()
	return w.await(ctx, current, s, fit)
}

// fits reports whether the worker can do a job. It says why not once.
func (w *Work) fits(ctx context.Context, s *workerState, j *Job) bool {
	if why, known := w.unfit[j.ID]; known {
		return why == "" && w.locate(ctx, j) == nil
	}
	why := j.Needs.Lacks(w.Worker)
	if why == "" {
		if err := w.locate(ctx, j); err != nil {
			if held := (*filelock.HeldError)(nil); !errors.As(err, &held) && !unreachable(err) {
				w.Note("job %s: %v", j.ID, err)
			}
			return false // it is tried again
		}
		if err := w.prepare(ctx, j); ctx.Err() != nil {
			return false
		} else if err != nil {
			why = err.Error()
		} else {
			s.opened(j)
			_ = w.Queue.Announce(ctx, s.copy()) // else it is said with the next announcement
		}
	}
	if w.unfit[j.ID] = why; why != "" {
		w.Note("job %s is not for this worker: %s", j.ID, why)
	}
	return why == ""
}

// locate finds the inputs of a job, or fetches them.
func (w *Work) locate(ctx context.Context, j *Job) (err error) {
	if len(j.Inputs) > 0 && w.Cache != nil {
		j.Local, err = w.Cache.Get(ctx, w.Queue, j)
	}
	return err
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

// do does the unit of a message and says so to the queue. It returns why no more can be done now.
func (w *Work) do(ctx context.Context, s *workerState, j *Job, m *held) []error {
	defer m.release()
	unit, err := j.unitOf(m.Subject())
	if err != nil {
		return []error{err, m.TermWithReason(err.Error())}
	}
	begun, err := w.Queue.begin(ctx, j, unit)
	if err != nil {
		return []error{err, m.Nak()}
	}
	if begun >= j.Attempts {
		f := Failure{Job: j.ID, Unit: unit, Cause: fmt.Sprintf("%d workers began it and failed or fell silent", begun)}
		return w.giveUp(ctx, j, f, m)
	}
	start := time.Now()
	s.at(j, unit)
	err = w.make(ctx, j, unit)
	m.release()
	if err != nil || ctx.Err() != nil {
		s.at(nil, 0)
	}
	switch {
	case ctx.Err() != nil:
		err = errors.Join(ctx.Err(), m.Nak()) // for another worker, at once
	case err != nil:
		return w.failed(ctx, j, unit, begun+1, m, err)
	default:
		s.made(j, j.Span(unit).Len(), time.Since(start))
		// The result is in the store: if this is not heard the unit is done again or found done.
		acked, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err = m.DoubleAck(acked)
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// make makes a unit's result and brings it into the store, unless it is there.
func (w *Work) make(ctx context.Context, j *Job, unit int) (err error) {
	defer func() {
		if x := recover(); x != nil { // of a model or a policy: the worker goes on
			err = fmt.Errorf("panic: %v", x)
		}
	}()
	name := j.Result(unit)
	store, there, err := w.find(ctx, j, name)
	if err != nil || there {
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
	if err := store.Put(ctx, path); err != nil {
		delete(w.stores, j.Store)
		return err
	}
	return nil
}

// find returns the store of a job, and whether a result is in it. A store is opened once, and again
// if it does not answer.
func (w *Work) find(ctx context.Context, j *Job, name string) (Store, bool, error) {
	if store := w.stores[j.Store]; store != nil {
		if there, err := store.Has(ctx, name); err == nil {
			return store, there, nil
		}
	}
	store, err := w.Queue.OpenStore(ctx, j.Store)
	if err != nil {
		return nil, false, err
	}
	w.stores[j.Store] = store
	there, err := store.Has(ctx, name)
	return store, there, err
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
func (w *Work) failed(ctx context.Context, j *Job, unit, begun int, m jetstream.Msg, cause error) []error {
	f := Failure{Job: j.ID, Unit: unit, Worker: w.Worker.Name, Cause: cause.Error()}
	w.Note("job %s, unit %d: %v", j.ID, unit, cause)
	_ = w.Queue.conn.Publish(eventSubject+j.ID, encode(f)) // for who listens
	if begun >= j.Attempts {
		return w.giveUp(ctx, j, f, m)
	}
	if err := m.NakWithDelay(min(j.AckWait, time.Duration(begun)*time.Second)); err != nil {
		return []error{err}
	}
	return nil
}

// giveUp sets a unit aside. It is not queued again.
func (w *Work) giveUp(ctx context.Context, j *Job, f Failure, m jetstream.Msg) []error {
	err := w.Queue.setAside(ctx, j, f)
	if err == nil {
		err = m.TermWithReason(f.Cause)
	}
	if err != nil {
		return []error{err}
	}
	return nil
}
