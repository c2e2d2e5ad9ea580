package main

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
)

// model is a job and what it costs; times are in seconds.
type model struct {
	Workers, Images       int
	Image, Spread, Shard  float64
	Ask, Tell, Sync, Trip float64 // of the broker
	Bytes, Store, AckWait float64
	Lifetime              float64
}

func (m *model) check() error {
	for name, v := range map[string]float64{
		"images": float64(m.Images), "image": m.Image, "shard": m.Shard, "store": m.Store, "ack-wait": m.AckWait,
	} {
		if !(v > 0) {
			return fmt.Errorf("%s %g: want more than 0", name, v)
		}
	}
	if n := (m.Images + m.perShard() - 1) / m.perShard(); n > maxShards {
		return fmt.Errorf("shard %g: %d shards, want at most %d: give longer ones", m.Shard, n, maxShards)
	}
	return nil
}

// perShard is the images of a shard.
func (m *model) perShard() int { return max(1, int(m.Shard/m.Image)) }

// What package jobs does.
const (
	maxShards     = 1 << 17
	maxQueued     = 10_000 // shards in the queue
	begins        = 2      // questions when a shard is begun: how often it was, and that it is
	lookAsks      = 10     // questions when the coordinator looks: job, queues, workers, status
	lookEvery     = 1.0    // how long it waits until it looks again
	announceEvery = 10.0   // how often a worker says that it is there
	checkEvery    = 30.0   // how often it asks whether it has heard of all jobs
	beatEvery     = 5.0    // how often the broker says that this watch goes on
	restartAfter  = 3.0    // how long a worker that died is away
)

// steady is the broker's share of the time for what all workers say and hear all the time: that
// they are there, that they are at their shards, and which jobs there are. A worker that waits
// costs no more.
func (m *model) steady() float64 {
	return float64(m.Workers) * (m.Ask*(3/m.AckWait+1/announceEvery+1/checkEvery) + m.Tell/beatEvery)
}

// work is what keeps the broker busy.
type work int

const (
	syncs work = iota
	asks
	looks
	beats
	works
)

func (w work) String() string { return [...]string{"syncs", "questions", "looks", "heartbeats"}[w] }

// cause is why workers do not compute.
type cause int

const (
	byBroker      cause = iota // it answers others first
	byCoordinator              // it has not queued what is to do
	byStore                    // it takes what others have made first
	byEnd                      // others are at the last shards
	byDeath                    // of a worker: what it had computed is lost, and it starts again
	causes
)

func (c cause) String() string {
	return [...]string{"the broker", "the queueing", "the store", "the last shards", "workers that died"}[c]
}

// result is how a job went.
type result struct {
	Seconds    float64
	Efficiency float64         // of the workers: time for images alone, over all of their time
	Broker     [works]float64  // shares of the time that it works
	Lost       [causes]float64 // shares of the workers' time
	Deaths     int
}

// load is the share of the time that the broker works, and on what most.
func (r result) load() (share float64, most work) {
	for w, s := range r.Broker {
		share += s
		if s > r.Broker[most] {
			most = work(w)
		}
	}
	return share, most
}

// loss is what costs the workers most of their time, and the share of that.
func (r result) loss() (most cause, share float64) {
	for c, s := range r.Lost {
		if s > r.Lost[most] {
			most = cause(c)
		}
	}
	return most, r.Lost[most]
}

// server serves one request after another.
type server struct {
	share float64 // of its time that it has for requests
	free  float64
}

// serve returns when a request that comes at a time and takes so long is done.
func (s *server) serve(at, cost float64) float64 {
	s.free = max(s.free, at) + cost/s.share
	return s.free
}

// event is something that happens at a time; of those at the same time the one that was planned
// first.
type event struct {
	at     float64
	number int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// simulation is a job under way.
type simulation struct {
	*model
	random        *rand.Rand
	now           float64
	planned       events
	number        int
	broker, store server
	left, done    int      // images that are not queued yet, and that are in the store
	queue         []int    // images of the shards in the queue
	waiting       []waiter // workers that have nothing to do
	spent         [works]float64
	lost          [causes]float64
	deaths        int
	ended         bool
}

type waiter struct {
	worker int
	since  float64
}

// run simulates the job.
func (m *model) run() result {
	s := &simulation{
		model:  m,
		random: rand.New(rand.NewPCG(1, uint64(m.Workers))),
		left:   m.Images,
		broker: server{share: max(0.001, 1-m.steady())},
		store:  server{share: 1},
	}
	s.at(0, s.look)
	for w := range m.Workers {
		s.at(0, func() { s.ask(w) })
	}
	for !s.ended {
		e := heap.Pop(&s.planned).(event)
		s.now = e.at
		e.do()
	}
	for _, w := range s.waiting {
		s.lost[byEnd] += s.now - w.since
	}
	all := s.now * float64(m.Workers)
	r := result{
		Seconds:    s.now,
		Efficiency: float64(m.Images) * m.Image / all,
		Lost:       s.lost,
		Broker:     s.spent,
		Deaths:     s.deaths,
	}
	for c := range r.Lost {
		r.Lost[c] /= all
	}
	for w := range r.Broker {
		r.Broker[w] /= s.now
	}
	r.Broker[beats] = m.steady()
	return r
}

func (s *simulation) at(at float64, do func()) {
	s.number++
	heap.Push(&s.planned, event{at, s.number, do})
}

// request has the broker do work and returns when the answer to the last of some requests is there.
func (s *simulation) request(w work, cost float64, requests int) float64 {
	s.spent[w] += cost
	return s.broker.serve(s.now, cost) + float64(requests)*s.Trip
}

// lookCost is what the broker does when the coordinator lists what is queued and what workers say.
func (s *simulation) lookCost() float64 {
	return lookAsks*s.Ask + float64(len(s.queue)+s.Workers)*s.Tell
}

// look has the coordinator look, and queue what is missing.
func (s *simulation) look() {
	if s.done == s.Images {
		s.ended = true
		return
	}
	s.at(s.request(looks, s.lookCost(), lookAsks), s.push)
}

// push queues shards one after another, as long as there is room.
func (s *simulation) push() {
	n := min(s.perShard(), s.left)
	if n == 0 || len(s.queue) >= maxQueued {
		s.lookAgain()
		return
	}
	s.left -= n
	s.at(s.request(syncs, s.Sync, 1), func() {
		s.queued(n)
		s.push()
	})
}

// lookAgain has the coordinator look again. Looks at which nothing has changed are counted and not
// simulated.
func (s *simulation) lookAgain() {
	next := s.now + lookEvery
	if len(s.planned) > 0 {
		same := math.Floor(max(0, s.planned[0].at-next) / lookEvery)
		s.spent[looks] += same * s.lookCost()
		next += same * lookEvery
	}
	s.at(next, s.look)
}

// queued adds a shard to the queue.
func (s *simulation) queued(images int) {
	s.queue = append(s.queue, images)
	s.give()
}

// ask has a worker ask for a shard, and wait for one.
func (s *simulation) ask(worker int) {
	asked := s.now
	s.at(s.request(asks, s.Ask, 1), func() {
		s.lost[byBroker] += s.now - asked
		s.waiting = append(s.waiting, waiter{worker, s.now})
		s.give()
	})
}

// give gives the shards in the queue to workers that wait.
func (s *simulation) give() {
	for len(s.queue) > 0 && len(s.waiting) > 0 {
		w, images := s.waiting[0], s.queue[0]
		s.waiting, s.queue = s.waiting[1:], s.queue[1:]
		why := byCoordinator
		if s.left == 0 {
			why = byEnd // of a worker that died
		}
		s.lost[why] += s.now - w.since
		s.begin(w.worker, images)
	}
}

// begin has a worker compute a shard, or die with it: how long it has lived says nothing of how
// long it will.
func (s *simulation) begin(worker, images int) {
	begun := s.now
	start := s.request(asks, begins*s.Ask, begins)
	end := start + float64(images)*s.Image*max(0.5, 1+s.Spread*s.random.NormFloat64())
	if died := start + s.Lifetime*s.random.ExpFloat64(); s.Lifetime > 0 && died < end {
		s.deaths++
		back := died + restartAfter
		s.lost[byDeath] += back - begun
		s.at(died+s.AckWait, func() { s.queued(images) })
		s.at(back, func() { s.ask(worker) })
		return
	}
	s.lost[byBroker] += start - begun
	s.at(end, func() { s.put(worker, images) })
}

// put has a worker bring a part into the store and confirm it.
func (s *simulation) put(worker, images int) {
	made := s.now
	s.at(s.store.serve(made, float64(images)*s.Bytes/s.Store), func() {
		s.lost[byStore] += s.now - made
		s.done += images
		stored := s.now
		s.at(s.request(syncs, s.Sync, 1), func() {
			s.lost[byBroker] += s.now - stored
			s.ask(worker)
		})
	})
}
