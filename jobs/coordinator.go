package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Coordinator keeps the queue as the store of results needs it: units whose results are missing are
// queued, those that no worker finishes are set aside.
type Coordinator struct {
	Queue *Queue
	Every time.Duration // between two looks at the store; 0: a second
	// OnStatus, if not nil, is told how far the job is after every look.
	OnStatus func(*Status)

	found func(ctx context.Context, unit int) error // called once of each unit that is done, if not nil
	seen  map[int]bool                              // units that found was called of

	mu     sync.Mutex
	causes map[string]int // of attempts that failed
}

// Status is how far a job is.
type Status struct {
	Job      string         `json:"job"`
	State    State          `json:"state"`
	Images   int            `json:"images"`
	Made     int            `json:"made"`
	Units    int            `json:"units"`
	Done     int            `json:"done"`
	SetAside []Failure      `json:"set_aside,omitempty"`
	Causes   map[string]int `json:"causes,omitempty"` // attempts that failed, since the coordinator started
	Workers  int            `json:"workers"`          // at this job
	Rate     float64        `json:"images_per_second"`
	Left     float64        `json:"seconds_left"` // 0 if it cannot be told
	At       time.Time      `json:"at"`
}

// SetAsideError reports units that no worker could make.
type SetAsideError struct{ Failures []Failure }

func (e *SetAsideError) Error() string {
	first := e.Failures[0]
	return fmt.Sprintf("%d units were set aside, the first is unit %d: %s", len(e.Failures), first.Unit, first.Cause)
}

// errCancelled reports a job that is not to be done any more.
var errCancelled = errors.New("was cancelled")

// every is the time between two looks.
func (c *Coordinator) every() time.Duration { return cmp.Or(c.Every, time.Second) }

// Run looks after a job until all its parts are in its store, and returns nil then. If nothing but
// units that were set aside is left it returns a *SetAsideError.
func (c *Coordinator) Run(ctx context.Context, j *Job) error {
	store, err := c.Queue.OpenStore(ctx, j.Store)
	if err != nil {
		return err
	}
	c.causes = map[string]int{}
	heard, err := c.listen(j)
	if err != nil {
		return err
	}
	defer heard()
	for {
		s, err := c.look(ctx, j, store)
		switch {
		case err != nil && !c.Queue.passes(ctx, err):
			return errors.Join(err, ctx.Err())
		case err != nil:
		case s.Done == s.Units:
			return c.Queue.Finish(ctx, j, Done)
		case s.State == Cancelled:
			return fmt.Errorf("job %s %w", j.ID, errCancelled)
		case s.Done+len(s.SetAside) == s.Units:
			return &SetAsideError{s.SetAside}
		}
		if err := sleep(ctx, c.every()); err != nil {
			return err
		}
	}
}

// listen counts failures. The function it returns ends that.
func (c *Coordinator) listen(j *Job) (stop func(), err error) {
	failures, err := c.Queue.conn.Subscribe(eventSubject+j.ID, func(m *nats.Msg) {
		f := Failure{}
		if json.Unmarshal(m.Data, &f) == nil {
			c.mu.Lock()
			c.causes[f.Cause]++
			c.mu.Unlock()
		}
	})
	return func() { _ = failures.Unsubscribe() }, err
}

// look compares the store with the queue, queues what is in neither, and says how far the job is.
func (c *Coordinator) look(ctx context.Context, j *Job, store Store) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	now, err := c.Queue.Job(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	if _, err := c.Queue.consumer(ctx, j); err != nil {
		return nil, err
	}
	queued, err := units(ctx, c.Queue.work, workSubject, j)
	if err != nil {
		return nil, err
	}
	// After the queue: what leaves it meanwhile is set aside, or in the store.
	aside, err := c.Queue.Failures(ctx, j)
	if err != nil {
		return nil, err
	}
	there, err := store.Names(ctx)
	if err != nil {
		return nil, err
	}
	isAside, full := map[int]bool{}, false
	s := &Status{Job: j.ID, State: now.State, Images: j.Run.Images, Units: j.Units(), At: time.Now().UTC()}
	for _, f := range aside {
		isAside[f.Unit] = true
	}
	for unit := range j.Units() {
		done := there[j.Result(unit)]
		if done {
			if done, err = c.see(ctx, unit); err != nil {
				return nil, err
			}
		}
		switch {
		case done:
			s.Done++
			s.Made += j.Span(unit).Len()
			delete(isAside, unit)
		case queued[unit] || isAside[unit] || full || now.State == Cancelled:
		default:
			if err := c.Queue.push(ctx, j, unit); errors.Is(err, errFull) {
				full = true // this one and all others wait for room
			} else if err != nil {
				return nil, err
			}
		}
	}
	for _, f := range aside {
		if isAside[f.Unit] {
			s.SetAside = append(s.SetAside, f)
		}
	}
	return s, c.report(ctx, s)
}

// see hands over a unit whose result is in the store, unless it was. It reports whether the result
// is whole.
func (c *Coordinator) see(ctx context.Context, unit int) (whole bool, err error) {
	if c.found == nil || c.seen[unit] {
		return true, nil
	}
	err = c.found(ctx, unit)
	if errors.Is(err, ErrDamaged) {
		return false, nil
	}
	if c.seen == nil {
		c.seen = map[int]bool{}
	}
	c.seen[unit] = err == nil
	return err == nil, err
}

// report adds what the workers say, and keeps the status where others can read it.
func (c *Coordinator) report(ctx context.Context, s *Status) error {
	workers, err := c.Queue.Workers(ctx)
	if err != nil {
		return err
	}
	s.heed(workers)
	c.mu.Lock()
	s.Causes = map[string]int{}
	for cause, n := range c.causes {
		s.Causes[cause] = n
	}
	c.mu.Unlock()
	if c.OnStatus != nil {
		c.OnStatus(s)
	}
	_, err = c.Queue.status.Put(ctx, s.Job, encode(s))
	return err
}

// heed adds what workers say of themselves that are at the job.
func (s *Status) heed(workers []*Worker) {
	s.Workers, s.Rate, s.Left = 0, 0, 0
	for _, w := range workers {
		if w.Job == s.Job {
			s.Workers++
			s.Rate += w.Rate
		}
	}
	if s.Rate > 0 {
		s.Left = float64(s.Images-s.Made) / s.Rate
	}
}

// Fill queues all units of a job whose parts are missing, as far as there is room, and leaves the
// rest to a coordinator. It returns how far the job is.
func (q *Queue) Fill(ctx context.Context, j *Job) (*Status, error) {
	store, err := q.OpenStore(ctx, j.Store)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{Queue: q}
	if s, err := q.Status(ctx, j); err == nil {
		c.causes = s.Causes // a coordinator may have counted them
	}
	return c.look(ctx, j, store)
}

// Bar draws how many of the images there are.
func (s *Status) Bar() string {
	const width = 30
	full := width * s.Made / max(s.Images, 1)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// Ended reports whether nothing more is done about the job.
func (s *Status) Ended() bool { return s.Done+len(s.SetAside) == s.Units || s.State == Cancelled }

// String says it to people.
func (s *Status) String() string {
	text := fmt.Sprintf("%d of %d images in %d of %d shards", s.Made, s.Images, s.Done, s.Units)
	if s.State == Cancelled {
		text += ", cancelled"
	}
	if s.Workers > 0 {
		text += fmt.Sprintf(", %d workers, %.2f images/s", s.Workers, s.Rate)
	}
	if s.Left > 0 {
		text += fmt.Sprintf(", %v left", (time.Duration(s.Left) * time.Second).String())
	}
	if len(s.SetAside) > 0 {
		text += fmt.Sprintf(", %d shards set aside", len(s.SetAside))
	}
	for _, cause := range slices.Sorted(maps.Keys(s.Causes)) {
		text += fmt.Sprintf("; failed %d times: %s", s.Causes[cause], cause)
	}
	return text
}

// ErrDamaged reports a result that is not what its checksum says.
var ErrDamaged = errors.New("a result was damaged")

// Collect brings all parts of a job from its store into a folder, and checks each. One that is
// damaged is removed from both, so that it is made again, and is an error that is ErrDamaged.
func (q *Queue) Collect(ctx context.Context, j *Job, dir string) error {
	store, err := q.OpenStore(ctx, j.Store)
	if err != nil {
		return err
	}
	there, err := folderStore(dir).Names(ctx)
	if err != nil {
		return err
	}
	for unit := range j.Units() {
		name := j.Result(unit)
		if !there[name] {
			if err := store.Fetch(ctx, name, dir); err != nil {
				return fmt.Errorf("unit %d: %w", unit, err)
			}
		}
		if err := j.verify(filepath.Join(dir, name)); err != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
			return errors.Join(err, folderStore(dir).Remove(ctx, name), store.Remove(ctx, name))
		}
	}
	return nil
}
