package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// share is the part of the queued units that a worker may take at a time, 1/share, so that the last
// ones are spread over many.
const share = 8

// meet finds the queue of a job.
func (w *Work) meet(ctx context.Context, j *Job) error {
	if w.consumers[j.ID] != nil {
		return nil
	}
	c, err := w.Queue.stream.Consumer(ctx, workStream, j.ID)
	if err == nil {
		w.consumers[j.ID] = c
	}
	return err
}

// part forgets the queue of a job after an error. It returns nil if the queue is not there any
// more.
func (w *Work) part(j *Job, err error) error {
	if err != nil {
		delete(w.consumers, j.ID)
	}
	for _, gone := range []error{
		jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDeleted, jetstream.ErrNoHeartbeat,
	} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}

// take takes a unit of a job from the queue, if there is one, and does it. A worker that is faster
// than the job's units were sized for takes several.
func (w *Work) take(ctx context.Context, s *workerState, j *Job) (bool, error) {
	list, err := w.fetch(ctx, j, s.several(j))
	return len(list) > 0, errors.Join(w.doAll(ctx, s, j, list), w.part(j, err))
}

// fetch takes up to several units of a job that are queued.
func (w *Work) fetch(ctx context.Context, j *Job, several int) ([]*held, error) {
	c := w.consumers[j.ID]
	if several > 1 {
		info, err := c.Info(ctx)
		if err != nil {
			return nil, err
		}
		several = max(1, min(several, int(info.NumPending/share))) //nolint:gosec // the queue is bounded
	}
	batch, err := c.FetchNoWait(several)
	if err != nil {
		return nil, err
	}
	var list []*held
	for m := range batch.Messages() {
		list = append(list, hold(ctx, m, j.AckWait/3))
	}
	return list, batch.Error()
}

// await waits until waiting is done or one of the jobs has a unit, and does that.
func (w *Work) await(ctx, waiting context.Context, s *workerState, jobs []*Job) (worked bool, err error) {
	waiting, cancel := context.WithCancel(waiting)
	defer cancel()
	came, errs := make([]*held, len(jobs)), make([]error, len(jobs))
	var all sync.WaitGroup
	for i, j := range jobs {
		c := w.consumers[j.ID]
		if c == nil {
			continue // it has gone meanwhile
		}
		all.Go(func() {
			defer cancel()
			came[i], errs[i] = next(ctx, waiting, c, j.AckWait/3)
		})
	}
	all.Wait()
	for i, j := range jobs {
		errs[i] = w.part(j, errs[i])
		if came[i] != nil {
			worked, errs[i] = true, w.doAll(ctx, s, j, []*held{came[i]})
		}
	}
	return worked, errors.Join(errs...)
}

// next waits until waiting is done or a queue has a unit, and takes that. It takes one that comes
// as the wait ends, too: nobody else would have it until the broker misses the worker's heartbeats.
// If none comes it returns nil.
func next(ctx, waiting context.Context, c jetstream.Consumer, every time.Duration) (*held, error) {
	messages, err := c.Messages(jetstream.PullMaxMessages(1), jetstream.StopAfter(1),
		jetstream.PullExpiry(maxWait), jetstream.PullHeartbeat(waitHeartbeat))
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	m, err := messages.Next(jetstream.NextContext(waiting))
	if err != nil {
		messages.Drain()
		if late, none := messages.Next(jetstream.NextMaxWait(pause)); none == nil {
			m, err = late, nil
		}
	}
	switch {
	case err == nil:
		return hold(ctx, m, every), nil
	case waiting.Err() != nil:
		return nil, nil
	}
	return nil, err
}

// doAll does units until one fails to be done, and gives those that are left to other workers.
func (w *Work) doAll(ctx context.Context, s *workerState, j *Job, list []*held) error {
	var failures []error
	for _, h := range list {
		if len(failures) == 0 && ctx.Err() == nil {
			failures = append(failures, w.do(ctx, s, j, h)...)
			continue
		}
		h.release()
		failures = append(failures, h.Nak()) // at once
	}
	return errors.Join(failures...)
}

// held is the message of a unit that the queue gives to nobody else until it is released.
type held struct {
	jetstream.Msg
	release func()
}

// hold keeps a message until it is released or ctx is done.
func hold(ctx context.Context, m jetstream.Msg, every time.Duration) *held {
	ctx, release := context.WithCancel(ctx)
	go beat(ctx, m, every)
	return &held{m, release}
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
