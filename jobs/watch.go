package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Status returns how far a coordinator of a job last found it.
func (q *Queue) Status(ctx context.Context, j *Job) (*Status, error) {
	var s *Status
	err := q.persist(ctx, func(ctx context.Context) (err error) {
		s, _, err = q.kept(ctx, j)
		return err
	})
	return s, err
}

// errNoStatus reports a job at which nobody has looked.
var errNoStatus = errors.New("no coordinator has looked after it yet")

// kept returns the status that is kept of a job, and a number that grows whenever it is kept anew.
func (q *Queue) kept(ctx context.Context, j *Job) (*Status, uint64, error) {
	entry, err := q.status.Get(ctx, j.ID)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, fmt.Errorf("job %s: %w", j.ID, errNoStatus)
	}
	if err != nil {
		return nil, 0, err
	}
	s := new(Status)
	return s, entry.Revision(), json.Unmarshal(entry.Value(), s)
}

// end sets the state in the status that is kept of a job at which nobody works any more.
func (q *Queue) end(ctx context.Context, j *Job) error {
	s, _, err := q.kept(ctx, j)
	if errors.Is(err, errNoStatus) {
		s, err = &Status{Job: j.ID, Images: j.Run.Images, Units: j.Units(), At: time.Now().UTC()}, nil
	}
	if err != nil {
		return err
	}
	s.State, s.Workers, s.Rate, s.Left = j.State, 0, 0, 0
	_, err = q.status.Put(ctx, j.ID, encode(s))
	return err
}

// unattended is after how many looks a status that stays as it is has no coordinator.
const unattended = 5

// Watch tells OnStatus how far a job is, until it has ended. If nobody looks after the job it does
// that itself, as Run does; this machine must then see the job's store.
func (c *Coordinator) Watch(ctx context.Context, j *Job) error {
	last := uint64(0)
	for same := 0; same < unattended; same++ {
		s, revision, err := c.Queue.kept(ctx, j)
		if err != nil && !errors.Is(err, errNoStatus) && !unreachable(err) {
			return err
		}
		if err == nil && revision != last {
			last, same = revision, 0
			if c.OnStatus != nil {
				c.OnStatus(s)
			}
			if s.Ended() {
				return nil
			}
		}
		if err := sleep(ctx, c.every()); err != nil {
			return err
		}
	}
	if err := j.CheckStore(); err != nil {
		return fmt.Errorf("job %s: nobody looks after it, and %w", j.ID, err)
	}
	err := c.Run(ctx, j)
	if aside := (*SetAsideError)(nil); errors.As(err, &aside) || errors.Is(err, errCancelled) {
		return nil // which the status says
	}
	return err
}

// CheckStore reports a store that this machine does not see: a folder that is not there.
func (j *Job) CheckStore() error {
	if j.Store == BrokerStore || strings.HasPrefix(j.Store, s3Scheme) {
		return nil
	}
	if _, err := os.Stat(j.Store); err != nil {
		return fmt.Errorf("its store is not on this machine: %w", err)
	}
	return nil
}
