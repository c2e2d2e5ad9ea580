package tokencache

import (
	"context"
	"slices"
	"sync"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/vae"
)

// Limits bound what an engine takes on at a time. Requests beyond them wait, first come first
// served, and one that could never fit is refused with a LimitError.
type Limits struct {
	// Rows is how many rows of tokens the images in flight may have together; a pass costs rows times
	// blocks. 0 means DefaultRows for each thread.
	Rows int
	// Memory bounds the bytes of caches, activations and latents of the images in flight, besides the
	// weights; 0 means DefaultMemory.
	Memory int64
	// Queue is how many requests may wait; a further one is refused with an OverloadedError. 0
	// means any number.
	Queue int
}

// Defaults of Limits.
const (
	DefaultRows   = 2048
	DefaultMemory = 4 << 30
)

// withDefaults returns limits for a number of threads. One image always may be in flight.
func (l Limits) withDefaults(threads int) Limits {
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	return l
}

// maxSharded is the largest model, in bytes, whose images are shared out among teams of workers.
// The operations of larger ones take so long that waiting for the last worker costs nothing, while
// each team would stream all weights.
const maxSharded = 256 << 20

// engine runs all requests of a pipeline. Every image in flight is a sequence; between two
// denoising steps sequences join and leave as they come. A tick is one pass of a team of workers
// over a group of sequences, each at its own step: teams do not wait for one another.
//
// There are as many teams as sequences, up to one for each thread, so that a lone image has all
// threads and many images have one each, where no thread waits for another within a pass.
type engine struct {
	model   seam.Model
	decoder vae.Autoencoder
	threads int
	large   bool // one team, always
	limits  Limits
	pixels  pixels
	level   string // of the CPU, for Stats
	dtype   string // likewise
	onTick  func(Tick)

	mu       sync.Mutex
	cond     *sync.Cond  // wakes workers: work, another number of teams, or the end
	jobs     []*job      // that are not complete, first come first
	ready    []*sequence // that are in no tick, the one admitted first in front
	flying   int         // sequences admitted and not finished
	rows     int         // of theirs
	admitted int         // sequences so far
	bytes    int64
	common   Client    // of requests without one
	clients  []*Client // with sequences in flight
	virtual  float64   // time of fair queueing, in FLOPs: see serve
	teams    int       // among which the threads are divided now
	ticking  int       // teams in a tick
	layouts  map[int][]*team
	closed   bool
	idle     chan struct{} // closed once closed and without jobs
	ended    sync.WaitGroup
}

func newEngine(m seam.Model, decoder vae.Autoencoder, large bool, threads int, l Limits, px pixels) *engine {
	e := &engine{
		model:   m,
		decoder: decoder,
		threads: threads,
		large:   large,
		limits:  l.withDefaults(threads),
		pixels:  px,
		teams:   1,
		layouts: map[int][]*team{},
		idle:    make(chan struct{}),
	}
	e.cond = sync.NewCond(&e.mu)
	workers := threads
	if large {
		workers = 1
	}
	for i := range workers {
		e.ended.Go(func() { e.work(i) })
	}
	return e
}

// submit queues a request.
func (e *engine) submit(j *job) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	if j.complete() {
		return nil // every image is skipped
	}
	if e.limits.Queue > 0 {
		waiting := 0
		for _, other := range e.jobs {
			if other.running == 0 && other.left == other.todo {
				waiting++
			}
		}
		if e.flying > 0 && waiting >= e.limits.Queue {
			return &OverloadedError{Waiting: waiting, Limit: e.limits.Queue}
		}
	}
	if j.client = j.req.Client; j.client == nil {
		j.client = &e.common
	}
	e.jobs = append(e.jobs, j)
	e.admit()
	return nil
}

// cancel ends a request: what waits of it is dropped now, what is in a tick after that.
func (e *engine) cancel(j *job, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(j, err)
}

// fail is cancel under the lock.
func (e *engine) fail(j *job, err error) {
	if j.err == nil {
		j.err = err
	}
	kept := e.ready[:0]
	for _, s := range e.ready {
		if s.job == j {
			e.drop(s)
			continue
		}
		kept = append(kept, s)
	}
	clear(e.ready[len(kept):])
	e.ready = kept
	e.finish(j)
	e.admit()
}

// drop takes a sequence that is in no tick out of flight.
func (e *engine) drop(s *sequence) {
	e.denoised(s.job)
	e.leave(s)
	s.close()
}

// denoised notes that a sequence of a job is at its end, or was dropped before.
func (e *engine) denoised(j *job) {
	j.tally(e.teams)
	j.denoising--
}

// leave gives back what was reserved for a sequence.
func (e *engine) leave(s *sequence) {
	s.job.running--
	e.exit(s.job.client)
	e.flying--
	e.rows -= s.job.unit * s.job.samples * s.job.tokens
	e.bytes -= s.job.bytes
}

// finish takes a request off the list once nothing more will come of it.
func (e *engine) finish(j *job) {
	j.signal()
	if !j.complete() {
		return
	}
	for i, other := range e.jobs {
		if other == j {
			e.jobs = append(e.jobs[:i], e.jobs[i+1:]...)
			break
		}
	}
	for _, s := range j.free {
		s.close()
	}
	j.free = nil
	if e.closed && len(e.jobs) == 0 {
		select {
		case <-e.idle:
		default:
			close(e.idle)
		}
	}
}

// admit lets images in as the limits allow: of the request with the fewest images in flight, of
// equal ones the first that came. It never passes over one that does not fit yet, so none starves.
func (e *engine) admit() {
	defer e.cond.Broadcast()
	for {
		var next *job
		for _, j := range e.jobs {
			if j.admissible() && (next == nil || j.running < next.running) {
				next = j
			}
		}
		if next == nil {
			return
		}
		rows := next.unit * next.samples * next.tokens
		if e.flying > 0 && (e.rows+rows > e.maxRows() || e.bytes+next.bytes > e.limits.Memory) {
			return
		}
		e.flying++
		e.rows += rows
		e.bytes += next.bytes
		next.tally(e.teams)
		next.denoising++
		s := next.newSequence()
		s.number = e.admitted
		e.admitted++
		e.enter(s)
		e.ready = append(e.ready, s)
	}
}

// enter gives a sequence that comes into flight its finish tag. A client that had none in flight
// begins level with the others: what it did not use before is not saved up.
func (e *engine) enter(s *sequence) {
	c := s.job.client
	if c.flying++; c.flying == 1 {
		e.clients = append(e.clients, c)
	}
	c.last = max(c.last, e.virtual) + s.job.work/c.weight()
	s.tag = c.last
}

// exit notes that a sequence of a client is in flight no more.
func (e *engine) exit(c *Client) {
	if c.flying--; c.flying == 0 {
		e.clients = slices.DeleteFunc(e.clients, func(other *Client) bool { return other == c })
	}
}

// serve notes FLOPs that were done. Virtual time is how far a client of weight 1 would have come if
// all were served at the same time.
func (e *engine) serve(flops int64) {
	sum := 0.0
	for _, c := range e.clients {
		sum += c.weight()
	}
	if sum > 0 {
		e.virtual += float64(flops) / sum
	}
}

// maxRows is how many rows may be in flight.
func (e *engine) maxRows() int {
	if e.limits.Rows > 0 {
		return e.limits.Rows
	}
	return DefaultRows * e.threads
}

// wantTeams is among how many teams the threads should be divided.
func (e *engine) wantTeams() int {
	if e.large || e.flying == 0 {
		return 1
	}
	for n := min(e.flying, e.threads); ; n-- {
		if e.threads%n == 0 {
			return n
		}
	}
}

// close refuses new requests and waits until those that run have ended, or until ctx is done: then
// they are cancelled.
func (e *engine) close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	if len(e.jobs) == 0 {
		select {
		case <-e.idle:
		default:
			close(e.idle)
		}
	}
	e.cond.Broadcast()
	e.mu.Unlock()

	var err error
	select {
	case <-e.idle:
	case <-ctx.Done():
		err = ctx.Err()
		e.mu.Lock()
		for _, j := range append([]*job(nil), e.jobs...) {
			e.fail(j, ErrClosed)
		}
		e.mu.Unlock()
		<-e.idle
	}
	e.mu.Lock()
	e.cond.Broadcast()
	e.mu.Unlock()
	e.ended.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, teams := range e.layouts {
		for _, t := range teams {
			t.graph.SetContext(context.Background())
			t.pool.Close()
		}
	}
	clear(e.layouts)
	return err
}
