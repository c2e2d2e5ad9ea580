package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The names of what a broker keeps.
const (
	workStream    = "TOKENCACHE_WORK"   // units to be done, by job and unit
	failedStream  = "TOKENCACHE_FAILED" // units that were set aside, likewise
	begunStream   = "TOKENCACHE_BEGUN"  // a message each time that a unit is begun, likewise
	jobsBucket    = "tokencache-jobs"
	statusBucket  = "tokencache-status"
	workersBucket = "tokencache-workers"
	workSubject   = "tokencache.work."
	failedSubject = "tokencache.failed."
	begunSubject  = "tokencache.begun."
	eventSubject  = "tokencache.events." // of attempts that failed, by job, for who listens
)

const (
	// MaxQueued bounds the units in a queue. A broker refuses more, and they wait until there is room.
	MaxQueued = 10_000
	// MaxWaiting bounds the workers that wait for a unit of the same job.
	MaxWaiting = 1 << 14
	// workerTTL is how long a worker that is silent counts as there. It says a word at a third of it.
	workerTTL = 30 * time.Second
)

// Queue is the jobs that a broker keeps.
type Queue struct {
	conn                  *nats.Conn
	stream                jetstream.JetStream
	jobs, status, workers jetstream.KeyValue
	work, failed, begun   jetstream.Stream
	replicas              int
}

// OpenQueue makes what the broker keeps, or finds it, with so many replicas. It waits for the
// broker as long as ctx allows.
func OpenQueue(ctx context.Context, conn *nats.Conn, replicas int) (*Queue, error) {
	q := &Queue{conn: conn, replicas: replicas}
	var err error
	if q.stream, err = jetstream.New(conn); err != nil {
		return nil, err
	}
	if err = q.persist(ctx, q.open); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return q, nil
}

// persist asks the broker, again and again while that cannot be reached, as long as ctx allows. What
// it does may have been done already by an attempt that was not answered.
func (q *Queue) persist(ctx context.Context, ask func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := ask(attempt)
		cancel()
		if !q.passes(ctx, err) {
			return err
		}
		if sleep(ctx, reconnectWait) != nil {
			return fmt.Errorf("it cannot be reached: %w", errors.Join(ctx.Err(), q.conn.LastError()))
		}
	}
}

// passes reports an error after which the broker is to be asked again. A broker that was started
// again lacks what it kept in memory, without which it looks as if it could not be reached: that
// is made anew.
func (q *Queue) passes(ctx context.Context, err error) bool {
	lacks := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
	if !lacks && !unreachable(err) {
		return false
	}
	// Others use what q has meanwhile: it stays, for it is but names.
	again := Queue{conn: q.conn, stream: q.stream, replicas: q.replicas}
	_ = again.open(ctx) // else the next time
	return true
}

// unreachable reports an error that passes when the broker is there, or when a cluster of brokers has
// found a leader.
func unreachable(err error) bool {
	if e := jetstream.JetStreamError(nil); errors.As(err, &e) && e.APIError() != nil {
		api := e.APIError()
		return api.Code == http.StatusServiceUnavailable &&
			api.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabled &&
			api.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabledForAccount
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// patience bounds one question to the broker.
const patience = 5 * time.Second

func (q *Queue) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	make := func(c jetstream.StreamConfig) jetstream.Stream {
		c.Replicas = q.replicas
		var s jetstream.Stream
		if err == nil {
			s, err = q.stream.CreateOrUpdateStream(ctx, c)
		}
		return s
	}
	q.work = make(jetstream.StreamConfig{
		Name:                 workStream,
		Subjects:             []string{workSubject + ">"},
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1, // a unit that is queued is not queued again
		MaxMsgs:              MaxQueued,
	})
	q.failed = make(jetstream.StreamConfig{
		Name:              failedStream,
		Subjects:          []string{failedSubject + ">"},
		MaxMsgsPerSubject: 1,
	})
	q.begun = make(jetstream.StreamConfig{
		Name:     begunStream,
		Subjects: []string{begunSubject + ">"},
		Storage:  jetstream.MemoryStorage, // a broker that starts again counts from none
	})
	bucket := func(name string, ttl time.Duration, on jetstream.StorageType) jetstream.KeyValue {
		var kv jetstream.KeyValue
		if err == nil {
			kv, err = q.stream.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket:   name,
				TTL:      ttl,
				Replicas: q.replicas,
				Storage:  on,
			})
		}
		return kv
	}
	q.jobs = bucket(jobsBucket, 0, jetstream.FileStorage)
	// What thousands of workers say of themselves is not worth a sync to the disk each.
	q.status = bucket(statusBucket, 0, jetstream.MemoryStorage)
	q.workers = bucket(workersBucket, workerTTL, jetstream.MemoryStorage)
	return err
}

// Submit makes a job known to workers, with a queue at which they can wait. One that is there is
// opened again.
func (q *Queue) Submit(ctx context.Context, j *Job) error {
	if err := j.check(); err != nil {
		return err
	}
	b := encode(j)
	if len(b) > maxJob {
		return fmt.Errorf("job %s: a description of %d bytes, want at most %d", j.ID, len(b), maxJob)
	}
	err := q.persist(ctx, func(ctx context.Context) error {
		if _, err := q.consumer(ctx, j); err != nil {
			return err
		}
		_, err := q.jobs.Put(ctx, j.ID, b)
		return err
	})
	return ofJob(j, "submitting", err)
}

// ofJob says of an error what was asked of the broker; nil stays nil.
func ofJob(j *Job, doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("job %s: %s: broker: %w", j.ID, doing, err)
}

// Job returns the job of an identifier, of which the beginning is enough.
func (q *Queue) Job(ctx context.Context, id string) (*Job, error) {
	all, err := q.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Job
	for _, j := range all {
		if strings.HasPrefix(j.ID, id) {
			found = append(found, j)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("job %q: %d of %d jobs have an identifier that begins so, want one", id, len(found), len(all))
	}
	return found[0], nil
}

// Jobs returns all jobs, sorted by their identifiers.
func (q *Queue) Jobs(ctx context.Context) ([]*Job, error) {
	var list []*Job
	err := each(ctx, q.jobs, func(value []byte) {
		if j := decodeJob(value); j != nil {
			list = append(list, j)
		}
	})
	slices.SortFunc(list, func(a, b *Job) int { return cmp.Compare(a.ID, b.ID) })
	return list, err
}

// decodeJob returns the job that a value of the bucket describes; nil if it is none.
func decodeJob(value []byte) *Job {
	j := new(Job)
	if json.Unmarshal(value, j) != nil || j.check() != nil {
		return nil
	}
	return j
}

// Workers returns the workers that are there, sorted by their names.
func (q *Queue) Workers(ctx context.Context) ([]*Worker, error) {
	var list []*Worker
	err := each(ctx, q.workers, func(value []byte) {
		w := new(Worker)
		if json.Unmarshal(value, w) == nil {
			list = append(list, w)
		}
	})
	slices.SortFunc(list, func(a, b *Worker) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}

// each calls take with all values of a bucket, for which it asks at once.
func each(ctx context.Context, kv jetstream.KeyValue, take func(value []byte)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer watcher.Stop()          //nolint:errcheck // all has been read
	values := map[string][]byte{} // of each the last, should it change meanwhile
	for {
		select {
		case entry, more := <-watcher.Updates():
			switch {
			case !more:
				return nats.ErrConnectionClosed
			case entry != nil:
				values[entry.Key()] = entry.Value()
				continue
			}
			for _, value := range values {
				take(value)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Announce says that a worker is there. It is to be said again before workerTTL.
func (q *Queue) Announce(ctx context.Context, w *Worker) error {
	_, err := q.workers.Put(ctx, w.Name, encode(w))
	return err
}

// Retire says that a worker has gone.
func (q *Queue) Retire(ctx context.Context, w *Worker) error { return q.workers.Delete(ctx, w.Name) }

// Finish sets a job's state to one in which nothing more is done, and empties its queue.
func (q *Queue) Finish(ctx context.Context, j *Job, s State) error {
	j.State = s
	err := q.persist(ctx, func(ctx context.Context) error {
		if _, err := q.jobs.Put(ctx, j.ID, encode(j)); err != nil {
			return err
		}
		return errors.Join(q.clear(ctx, j), q.end(ctx, j))
	})
	return ofJob(j, "ending", err)
}

// Forget removes all that is known of a job.
func (q *Queue) Forget(ctx context.Context, j *Job) error {
	err := q.persist(ctx, func(ctx context.Context) error {
		return errors.Join(
			q.jobs.Purge(ctx, j.ID),
			q.status.Purge(ctx, j.ID),
			q.failed.Purge(ctx, jetstream.WithPurgeSubject(failedSubject+j.ID+".>")),
			q.clear(ctx, j),
		)
	})
	return ofJob(j, "forgetting", err)
}

// clear takes all units of a job out of the queue, and forgets how often they were begun.
func (q *Queue) clear(ctx context.Context, j *Job) error {
	err := q.stream.DeleteConsumer(ctx, workStream, j.ID)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		err = nil
	}
	return errors.Join(
		err,
		q.work.Purge(ctx, jetstream.WithPurgeSubject(workSubject+j.ID+".>")),
		q.begun.Purge(ctx, jetstream.WithPurgeSubject(begunSubject+j.ID+".>")),
	)
}

// Retry gives units that were set aside their attempts again, and opens the job.
func (q *Queue) Retry(ctx context.Context, j *Job) error {
	err := q.persist(ctx, func(ctx context.Context) error {
		return errors.Join(
			q.failed.Purge(ctx, jetstream.WithPurgeSubject(failedSubject+j.ID+".>")),
			q.clear(ctx, j),
			q.status.Purge(ctx, j.ID), // it is of before: who watches is to wait for the next one
		)
	})
	if err != nil {
		return ofJob(j, "retrying", err)
	}
	j.State = Open
	return q.Submit(ctx, j)
}

// consumer returns the consumer of a job's units, and makes it if it is not there. That costs the
// broker syncs to the disk, and asking for it does not.
func (q *Queue) consumer(ctx context.Context, j *Job) (jetstream.Consumer, error) {
	c, err := q.stream.Consumer(ctx, workStream, j.ID)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
	case err != nil:
		return nil, err
	case c.CachedInfo().Config.MaxWaiting != MaxWaiting:
		// An earlier version made it for fewer workers. Units that are held go to others.
		if err := q.stream.DeleteConsumer(ctx, workStream, j.ID); err != nil {
			return nil, err
		}
	case c.CachedInfo().Config.AckWait == j.AckWait:
		return c, nil
	}
	return q.stream.CreateOrUpdateConsumer(ctx, workStream, jetstream.ConsumerConfig{
		Durable:       j.ID,
		FilterSubject: workSubject + j.ID + ".>",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       j.AckWait,
		MaxDeliver:    -1, // units that are held and not begun come back as often as that may be
		MaxAckPending: MaxQueued,
		MaxWaiting:    MaxWaiting,
	})
}

// units returns the numbers of units of which a stream has messages, under a subject and a job.
func units(ctx context.Context, s jetstream.Stream, subject string, j *Job) (map[int]bool, error) {
	found := map[int]bool{}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject+j.ID+".>"))
	if err != nil {
		return nil, err
	}
	for name := range info.State.Subjects {
		if unit, err := j.unitOf(name); err == nil {
			found[unit] = true
		}
	}
	return found, nil
}

// unitOf returns the unit that a message's subject names.
func (j *Job) unitOf(subject string) (int, error) {
	unit, err := strconv.Atoi(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil || unit < 0 || unit >= j.Units() {
		return 0, fmt.Errorf("subject %s: it names no unit of job %s", subject, j.ID)
	}
	return unit, nil
}

func unitSubject(subject string, j *Job, unit int) string {
	return fmt.Sprint(subject, j.ID, ".", unit)
}

// errFull reports that the queue has no room.
var errFull = errors.New("the queue is full")

// push queues a unit, unless it is queued.
func (q *Queue) push(ctx context.Context, j *Job, unit int) error {
	_, err := q.stream.Publish(ctx, unitSubject(workSubject, j, unit), nil)
	if refused := (*jetstream.APIError)(nil); errors.As(err, &refused) {
		switch {
		case strings.Contains(refused.Description, "per subject"):
			return nil
		case strings.Contains(refused.Description, "maximum messages"):
			return errFull
		}
	}
	return err
}

// begin counts that a unit is begun, and returns how often it was before.
func (q *Queue) begin(ctx context.Context, j *Job, unit int) (before int, err error) {
	subject := unitSubject(begunSubject, j, unit)
	info, err := q.begun.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, err
	}
	_, err = q.stream.Publish(ctx, subject, nil)
	return int(info.State.Subjects[subject]), err //nolint:gosec // it is bounded by the job's attempts
}

// setAside records a unit that is not tried again.
func (q *Queue) setAside(ctx context.Context, j *Job, f Failure) error {
	_, err := q.stream.Publish(ctx, unitSubject(failedSubject, j, f.Unit), encode(f))
	return err
}

// Failures returns the units of a job that were set aside.
func (q *Queue) Failures(ctx context.Context, j *Job) ([]Failure, error) {
	found, err := units(ctx, q.failed, failedSubject, j)
	if err != nil {
		return nil, err
	}
	var list []Failure
	for unit := range found {
		m, err := q.failed.GetLastMsgForSubject(ctx, unitSubject(failedSubject, j, unit))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f := Failure{}
		if json.Unmarshal(m.Data, &f) == nil {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b Failure) int { return cmp.Compare(a.Unit, b.Unit) })
	return list, nil
}

// sleep waits, and returns ctx's error if that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
