package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Viewer looks at the jobs and the workers of a broker, and makes and changes nothing there. It
// connects when it looks, and connects again when it looks after the connection was lost.
type Viewer struct {
	options *nats.Options

	mu     sync.Mutex
	conn   *nats.Conn // nil before the first look
	closed bool
}

// View is what a Viewer sees.
type View struct {
	Jobs    []JobView // sorted by their identifiers
	Workers []*Worker // sorted by their names
}

// JobView is a job, and how far a coordinator last found it. Its workers, their rate and the time
// left are of now. Status.At is zero if nobody has looked after the job yet.
type JobView struct {
	Job    *Job
	Status *Status
}

// NewViewer returns a viewer of the broker at one or more addresses, separated by commas. It reports
// addresses that are not safe to use and files that cannot be used, and does not connect yet.
func NewViewer(addresses string, a Access) (*Viewer, error) {
	o, err := a.options(addresses)
	if err != nil {
		return nil, err
	}
	o.AllowReconnect = false
	o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {} // Look reports what goes wrong
	return &Viewer{options: o}, nil
}

// Close ends the connection. Later looks are errors.
func (v *Viewer) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	if v.conn != nil {
		v.conn.Close()
	}
}

// Look returns what the broker has now: nothing if there has never been a job.
func (v *Viewer) Look(ctx context.Context) (*View, error) {
	conn, err := v.connect()
	if err != nil {
		return nil, fmt.Errorf("the broker cannot be reached: %w", err)
	}
	view, err := look(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("the broker does not answer: %w", err)
	}
	return view, nil
}

// connect returns a connection that is open, as far as is known.
func (v *Viewer) connect() (*nats.Conn, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, nats.ErrConnectionClosed
	}
	if v.conn == nil || v.conn.IsClosed() {
		conn, err := v.options.Connect()
		if err != nil {
			return nil, err
		}
		v.conn = conn
	}
	return v.conn, nil
}

// look reads what a broker has.
func look(ctx context.Context, conn *nats.Conn) (*View, error) {
	stream, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	q := &Queue{conn: conn, stream: stream}
	for name, kv := range map[string]*jetstream.KeyValue{
		jobsBucket:    &q.jobs,
		statusBucket:  &q.status,
		workersBucket: &q.workers,
	} {
		*kv, err = stream.KeyValue(ctx, name)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return &View{}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return q.view(ctx)
}

// view reads all jobs, how far they are, and all workers.
func (q *Queue) view(ctx context.Context) (*View, error) {
	all, err := q.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := q.Workers(ctx)
	if err != nil {
		return nil, err
	}
	kept := map[string]*Status{}
	err = each(ctx, q.status, func(value []byte) {
		s := new(Status)
		if json.Unmarshal(value, s) == nil {
			kept[s.Job] = s
		}
	})
	v := &View{Workers: workers}
	for _, j := range all {
		s := kept[j.ID]
		if s == nil {
			s = &Status{Job: j.ID}
		}
		s.State, s.Images, s.Units = j.State, j.Run.Images, j.Units()
		if j.State == Open {
			s.heed(workers)
		}
		v.Jobs = append(v.Jobs, JobView{j, s})
	}
	return v, err
}
