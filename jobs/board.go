package jobs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// board is the jobs of a broker as a worker has heard of them: the broker tells every change, and
// the worker asks nothing.
type board struct {
	check time.Duration // how often a worker asks whether it has heard of all changes

	mu      sync.Mutex
	jobs    []*Job // sorted by their identifiers
	current context.Context
	changed context.CancelFunc // ends current
}

// checkBoard is a board's check.
const checkBoard = 30 * time.Second

func newBoard(ctx context.Context) *board {
	b := &board{check: checkBoard}
	b.current, b.changed = context.WithCancel(ctx)
	return b
}

// list returns the jobs, sorted by their identifiers, and a context that is done when they change.
func (b *board) list() ([]*Job, context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jobs, b.current
}

func (b *board) set(ctx context.Context, all map[string]*Job) {
	list := slices.SortedFunc(maps.Values(all), func(a, b *Job) int { return cmp.Compare(a.ID, b.ID) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs = list
	b.changed()
	b.current, b.changed = context.WithCancel(ctx)
}

// follow keeps the board up to date until ctx is done. While the broker is away the board stays as
// it is.
func (b *board) follow(ctx context.Context, q *Queue, note func(format string, args ...any)) {
	for ctx.Err() == nil {
		if err := b.watch(ctx, q); err != nil && ctx.Err() == nil && !unreachable(err) {
			note("jobs: %v", err)
		}
		_ = sleep(ctx, reconnectWait)
	}
}

// watch watches the broker's jobs until ctx is done, or the watch may have missed a change: the
// connection was lost, or the broker keeps a later change than the last one that was heard.
func (b *board) watch(ctx context.Context, q *Queue) error {
	connected := q.conn.StatusChanged(nats.CONNECTED)
	defer q.conn.RemoveStatusListener(connected)
	watcher, err := q.jobs.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer watcher.Stop() //nolint:errcheck // the connection is lost, or it is made anew
	check := time.NewTicker(b.check)
	defer check.Stop()
	all, complete, heard := map[string]*Job{}, false, uint64(0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-connected:
			return nil
		case <-check.C:
			if last, err := q.lastChange(ctx); err != nil || last != heard {
				return err
			}
		case entry, more := <-watcher.Updates():
			switch {
			case !more:
				return nats.ErrConnectionClosed
			case entry == nil:
				complete = true
			default:
				heard = entry.Revision()
				delete(all, entry.Key())
				if j := decodeJob(entry.Value()); j != nil {
					all[entry.Key()] = j
				}
			}
			if complete {
				b.set(ctx, all)
			}
		}
	}
}

// lastChange returns the revision of the last change of a job.
func (q *Queue) lastChange(ctx context.Context) (uint64, error) {
	bucket, err := q.stream.Stream(ctx, "KV_"+jobsBucket)
	if err != nil {
		return 0, err
	}
	return bucket.CachedInfo().State.LastSeq, nil
}
