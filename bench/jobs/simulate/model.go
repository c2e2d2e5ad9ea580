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
	Ask, Sync, Trip       float64 // of the broker
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
	return nil
}

// asks is how many questions a worker asks for a shard: the jobs, twice, its consumer, a shard.
const asks = 4

// announceEvery is how often a worker says that it is there.
const announceEvery = 10.0

// restartAfter is how long a worker that died is away.
const restartAfter = 3.0

// result is how a job went.
type result struct {
	Seconds    float64
	Efficiency float64 // of the workers: time for images alone, over all of their time
	Broker     float64 // share of the time that it works
	Store      float64 // likewise
	Lost       int     // shards that died with their workers and were done again
	Rounds     float64 // shards for each worker
}

// bend says what keeps workers waiting, if they wait for more than a share of the time.
func (r result) bend() string {
	const nearlyAll, few = 0.9, 20
	switch {
	case r.Efficiency >= enough:
		return ""
	case r.Broker > nearlyAll:
		return "the broker's syncs and questions: give larger shards"
	case r.Store > nearlyAll:
		return "the store's bandwidth"
	case r.Rounds < few:
		return "few shards for each worker: give smaller ones"
	}
	return "broker and store together"
}

// server serves one request after another.
type server struct {
	share      float64 // of its time that it has for requests
	free, busy float64
}

// serve returns when a request that comes at a time and takes so long is done.
func (s *server) serve(at, cost float64) float64 {
	cost /= s.share
	s.free = max(s.free, at) + cost
	s.busy += cost
	return s.free
}

// event is what a worker does next.
type event struct {
	at     float64
	worker int
	kind   kind
}

type kind int

const (
	askShard kind = iota // for the next shard
	computed             // the shard's images
	stored               // the part is in the store
)

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// simulation is a job under way.
type simulation struct {
	*model
	random        *rand.Rand
	queue         events
	broker, store server
	perShard      int
	left, done    int // images that nobody has taken, and that are in the store
	taken         []int
	dies          []float64 // when each worker dies
	returned      []returned
	lost          int
}

// returned is a shard that the queue gives out again from a time on.
type returned struct {
	at     float64
	images int
}

// run simulates the job.
func (m *model) run() result {
	s := &simulation{
		model:    m,
		random:   rand.New(rand.NewPCG(1, uint64(m.Workers))),
		perShard: max(1, int(m.Shard/m.Image)),
		left:     m.Images,
		taken:    make([]int, m.Workers),
		dies:     make([]float64, m.Workers),
	}
	// Heartbeats and announcements come all the time and leave the broker less for shards.
	steady := float64(m.Workers) * m.Ask * (3/m.AckWait + 1/announceEvery)
	s.broker.share = max(0.001, 1-steady)
	s.store.share = 1
	for w := range m.Workers {
		s.dies[w] = s.lifetime(0)
		s.add(s.random.Float64(), w, askShard) // they start within a second
	}
	end := 0.0
	for s.done < m.Images {
		e := heap.Pop(&s.queue).(event)
		s.step(e)
		if e.kind == stored {
			end = e.at
		}
	}
	return result{
		Seconds:    end,
		Efficiency: float64(m.Images) * m.Image / (end * float64(m.Workers)),
		Broker:     min(1, s.broker.share*s.broker.busy/end+1-s.broker.share),
		Store:      min(1, s.store.busy/end),
		Lost:       s.lost,
		Rounds:     float64(m.Images) / float64(s.perShard*m.Workers),
	}
}

func (s *simulation) lifetime(from float64) float64 {
	if s.Lifetime == 0 {
		return math.Inf(1)
	}
	return from + s.Lifetime*s.random.ExpFloat64()
}

func (s *simulation) add(at float64, worker int, k kind) { heap.Push(&s.queue, event{at, worker, k}) }

// step lets an event happen.
func (s *simulation) step(e event) {
	switch e.kind {
	case askShard:
		// The coordinator has queued the shard, which the broker synced.
		at := s.broker.serve(e.at+s.Trip, asks*s.Ask) + s.Trip
		s.take(at, e.worker)
	case computed:
		s.add(s.store.serve(e.at, float64(s.taken[e.worker])*s.Bytes/s.Store), e.worker, stored)
	case stored:
		s.done += s.taken[e.worker]
		s.taken[e.worker] = 0
		s.add(s.broker.serve(e.at+s.Trip, s.Sync)+s.Trip, e.worker, askShard)
	}
}

// take gives a worker a shard, which it computes or dies with.
func (s *simulation) take(at float64, worker int) {
	n := min(s.perShard, s.left)
	s.left -= n
	for i, r := range s.returned {
		if n == 0 && r.at <= at {
			n = r.images
			s.returned = append(s.returned[:i], s.returned[i+1:]...)
			break
		}
	}
	if n == 0 {
		s.add(at+1, worker, askShard) // there may be one that another worker lost
		return
	}
	s.broker.serve(at, s.Sync)
	end := at + float64(n)*s.Image*max(0.5, 1+s.Spread*s.random.NormFloat64())
	if s.dies[worker] < end {
		s.lost++
		s.returned = append(s.returned, returned{max(at, s.dies[worker]) + s.AckWait, n})
		restart := max(at, s.dies[worker]) + restartAfter
		s.dies[worker] = s.lifetime(restart)
		s.add(restart, worker, askShard)
		return
	}
	s.taken[worker] = n
	s.add(end, worker, computed)
}
