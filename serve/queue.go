package serve

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
)

// scheduler decides which images are generated next, and which requests would wait too long. An
// image takes one of a few slots; the engine shares the processor among the images in flight.
//
// Slots go to the keys in turn by deficit round robin: at its turn a key may spend a quantum of
// FLOPs, and what it cannot spend yet it keeps. Within a key the request with the fewest images in
// flight is next. A request that has nothing in flight may take a slot beyond the usual number, so
// that it need not wait until an image of another is finished; the engine then shares the passes
// fairly (tokencache.Client).
type scheduler struct {
	limit   time.Duration
	slots   int
	metrics *metrics

	mu       sync.Mutex
	accounts map[string]*account
	ring     []*account // with tasks, in the order of their turns
	turn     int        // in ring
	flying   int
	arrived  int64

	rate  float64   // FLOPs a second while anything is in flight
	done  float64   // FLOPs since the rate was last taken
	busy  float64   // seconds since then
	since time.Time // when the present busy time began
}

// slotsPerThread is how many images for each thread are in flight at most while no newcomer is
// waiting: enough for full passes where each computes few tokens.
const slotsPerThread = 4

// firstRate is the rate assumed for each thread before any was measured.
const firstRate = 15e9

// maxWaiting bounds the requests that are known at a time, whatever they cost; a key may have half of
// them.
const maxWaiting = 1024

// How much work may be in hand besides the largest request, in times the limit: of a key, so that
// none fills the queue alone, and of all. Sharing bounds the expected wait of each request, but not
// the sum of many that are ever smaller.
const (
	keyWork = 2
	allWork = 4
)

func newScheduler(threads int, limit time.Duration, m *metrics) *scheduler {
	return &scheduler{
		limit:    limit,
		slots:    slotsPerThread * threads,
		metrics:  m,
		accounts: map[string]*account{},
		rate:     firstRate * float64(threads),
	}
}

// account is a key with requests.
type account struct {
	key     string
	weight  float64
	tasks   []*task // in the order of arrival
	deficit float64
	visited bool // it has had its quantum in the present turn
	flying  int
}

// task is a request as the scheduler sees it.
type task struct {
	labels    labels // in metrics
	key       string
	keyWeight float64
	weight    float64 // among the requests of its key
	cost      float64 // FLOPs of an image
	images    []int   // that wait
	total     int
	client    *tokencache.Client
	deadline  time.Time // it is refused if it would only wait until then; zero: never
	moved     func(position int)

	// start generates an image. What it returns is called when the image's place is free: whoever
	// learns from it that the task has ended finds nothing of it in the queue.
	start func(image int) (ended func())

	// Guarded by scheduler.mu.
	account  *account
	arrived  int64
	came     time.Time
	flying   int
	begun    bool
	position int // that moved was told of
}

// left is how much work a task still is: images in flight are taken to be half done.
func (t *task) left() float64 { return t.cost * (float64(len(t.images)) + float64(t.flying)/2) }

// submit queues a task, or reports that there is too much to do for it.
func (q *scheduler) submit(t *task) error {
	q.mu.Lock()
	if err := q.refusal(t); err != nil {
		q.mu.Unlock()
		return err
	}
	a := q.accounts[t.key]
	if a == nil {
		a = &account{key: t.key, weight: t.keyWeight}
		q.accounts[t.key] = a
		q.ring = append(q.ring, a)
	}
	q.arrived++
	t.account, t.arrived, t.came, t.position = a, q.arrived, time.Now(), -1
	a.tasks = append(a.tasks, t)
	q.metrics.queued(t.labels)
	q.dispatch()
	q.mu.Unlock()
	q.tell()
	return nil
}

// refusal returns why a task is not taken now; nil: it is.
func (q *scheduler) refusal(t *task) error {
	if excess := q.excess(t); excess > 0 {
		return overloaded(excess)
	}
	if wait, left := q.share(t), max(0, time.Until(t.deadline)); !t.deadline.IsZero() && wait > left {
		return hopeless(wait, left)
	}
	return nil
}

// excess estimates how long it takes until there is so little to do that a task is taken; at most 0:
// it is taken now.
func (q *scheduler) excess(t *task) time.Duration {
	var own, all pile
	own.add(t.cost * float64(t.total))
	all.add(t.cost * float64(t.total))
	for _, a := range q.ring {
		for _, other := range a.tasks {
			all.add(other.left())
			if a.key == t.key {
				own.add(other.left())
			}
		}
	}
	excess := max(q.share(t)-q.limit, q.time(own.rest())-keyWork*q.limit, q.time(all.rest())-allWork*q.limit)
	if all.count > maxWaiting || own.count > maxWaiting/2 {
		excess = max(excess, time.Second)
	}
	return excess
}

// pile is the work of some requests.
type pile struct {
	count        int
	sum, largest float64 // FLOPs
}

func (p *pile) add(work float64) {
	p.count++
	p.sum += work
	p.largest = max(p.largest, work)
}

// rest is all but the largest request, which may be of any size: it can only come while there is
// little to do.
func (p *pile) rest() float64 { return p.sum - p.largest }

// time is how long work takes.
func (q *scheduler) time(flops float64) time.Duration {
	return time.Duration(flops / q.rate * float64(time.Second))
}

// share estimates how long a task would wait for others: while it is served, others get as much as
// it, or less if they want less.
func (q *scheduler) share(t *task) time.Duration {
	cost := t.cost * float64(t.total)
	mine := cost
	for _, a := range q.ring {
		if a.key != t.key {
			continue
		}
		for _, other := range a.tasks {
			mine += min(other.left(), cost*other.weight/t.weight)
		}
	}
	all := mine
	for _, a := range q.ring {
		if a.key == t.key {
			continue
		}
		left := 0.0
		for _, other := range a.tasks {
			left += other.left()
		}
		all += min(left, mine*a.weight/t.keyWeight)
	}
	return q.time(all - cost)
}

// backlog is how long all work in hand takes.
func (q *scheduler) backlog() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := 0.0
	for _, a := range q.ring {
		for _, t := range a.tasks {
			left += t.left()
		}
	}
	return q.time(left)
}

// full reports whether a small request of a new key would be refused: one image, like the cheapest
// in hand.
func (q *scheduler) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	small := &task{keyWeight: 1, weight: 1, total: 1} // its key has no name, as no other
	for _, a := range q.ring {
		for _, t := range a.tasks {
			if small.cost == 0 || t.cost < small.cost {
				small.cost = t.cost
			}
		}
	}
	return q.excess(small) > 0
}

// remove takes the images of a task that wait off the queue, and returns how many there were.
func (q *scheduler) remove(t *task) int {
	q.mu.Lock()
	waited := len(t.images)
	t.images = nil
	q.forget(t)
	q.dispatch()
	q.mu.Unlock()
	q.tell()
	return waited
}

// forget drops a task of which nothing waits or runs, and its account with the last.
func (q *scheduler) forget(t *task) {
	if len(t.images) > 0 || t.flying > 0 {
		return
	}
	a := t.account
	i := slices.Index(a.tasks, t)
	if i < 0 {
		return // it was dropped before
	}
	a.tasks = slices.Delete(a.tasks, i, i+1)
	q.metrics.gone(t.labels, t.begun)
	if i := slices.Index(q.ring, a); i >= 0 && len(a.tasks) == 0 {
		q.ring = slices.Delete(q.ring, i, i+1)
		if q.turn > i {
			q.turn--
		}
		delete(q.accounts, a.key)
	}
}

// dispatch starts images while there are slots.
func (q *scheduler) dispatch() {
	for {
		t := q.pick()
		if t == nil {
			return
		}
		image := t.images[0]
		t.images = t.images[1:]
		if !t.begun {
			t.begun = true
			q.metrics.begun(t.labels, time.Since(t.came))
		}
		if q.flying == 0 {
			q.since = time.Now()
		}
		t.flying++
		t.account.flying++
		q.flying++
		t.account.weigh()
		go func() {
			ended := t.start(image)
			q.finished(t)
			ended()
		}()
	}
}

// finished notes that an image of a task is finished, or given up.
func (q *scheduler) finished(t *task) {
	q.mu.Lock()
	t.flying--
	t.account.flying--
	q.flying--
	q.measure()
	t.account.weigh()
	q.forget(t)
	q.dispatch()
	q.mu.Unlock()
	q.tell()
}

// progress notes that an image took a step.
func (q *scheduler) progress(flops int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done += float64(flops)
	q.measure()
}

// measure takes the rate whenever there was work for a while.
func (q *scheduler) measure() {
	const enough, weight = 0.5, 0.3 // seconds; of the newest measurement
	now := time.Now()
	q.busy += now.Sub(q.since).Seconds()
	q.since = now
	if q.busy < enough || q.done == 0 {
		return
	}
	q.rate += weight * (q.done/q.busy - q.rate)
	q.done, q.busy = 0, 0
}

// weigh divides the weight of a key among its requests in flight.
func (a *account) weigh() {
	sum := 0.0
	for _, t := range a.tasks {
		if t.flying > 0 {
			sum += t.weight
		}
	}
	for _, t := range a.tasks {
		if t.flying > 0 {
			t.client.SetWeight(a.weight * t.weight / sum)
		}
	}
}

// head returns the next task of an account, nil if none waits.
func (a *account) head() *task {
	var best *task
	for _, t := range a.tasks {
		if len(t.images) == 0 {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(float64(t.flying)/t.weight, float64(best.flying)/best.weight),
			-cmp.Compare(t.weight, best.weight),
		) < 0 {
			best = t
		}
	}
	return best
}

// pick returns the task whose image is next, nil if there is none or no slot for it.
func (q *scheduler) pick() *task {
	if q.flying < q.slots {
		return q.round()
	}
	if q.flying >= 2*q.slots {
		return nil
	}
	for _, a := range q.ring {
		if t := a.head(); t != nil && t.flying == 0 {
			return t
		}
	}
	return nil
}

// round is deficit round robin.
func (q *scheduler) round() *task {
	quantum := 0.0 // so large that every key gets an image in a round
	for _, a := range q.ring {
		if t := a.head(); t != nil {
			quantum = max(quantum, t.cost/a.weight)
		}
	}
	if quantum == 0 {
		return nil
	}
	for {
		if q.turn >= len(q.ring) {
			q.turn = 0
		}
		a := q.ring[q.turn]
		t := a.head()
		if t == nil {
			a.deficit = 0
		} else {
			if !a.visited {
				a.visited = true
				a.deficit += quantum * a.weight
			}
			if a.deficit >= t.cost {
				a.deficit -= t.cost
				return t
			}
		}
		a.visited = false
		q.turn++
	}
}

// tell tells the tasks that wait where they stand.
func (q *scheduler) tell() {
	q.mu.Lock()
	var waiting []*task
	for _, a := range q.ring {
		waiting = append(waiting, a.tasks...)
	}
	slices.SortFunc(waiting, func(a, b *task) int { return cmp.Compare(a.arrived, b.arrived) })
	var changed []func()
	place := 0
	for _, t := range waiting {
		position := 0
		if !t.begun {
			place++
			position = place
		}
		if t.moved != nil && position != t.position {
			t.position = position
			changed = append(changed, func() { t.moved(position) })
		}
	}
	q.mu.Unlock()
	for _, f := range changed {
		f()
	}
}
