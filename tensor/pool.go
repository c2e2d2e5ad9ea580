package tensor

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Pool is a fixed set of workers that compute the parts of one operation at a time. Several Graphs
// may share one; their operations then take turns.
type Pool struct {
	mu      sync.Mutex // held by the operation that runs
	workers []worker   // workers[0] is the goroutine that calls run
	job     job
	round   atomic.Uint32 // counts operations; helpers start when it changes
	next    atomic.Int64  // next part
	parts   int64
	busy    atomic.Int32 // helpers that have not finished the round
	closed  atomic.Bool
	parked  []chan struct{} // wakes helper i+1
	asleep  []atomic.Bool
	ended   sync.WaitGroup        // helpers
	failed  atomic.Pointer[Panic] // the first panic of a helper in the round
	observe func(parts []time.Duration)
}

// worker is what one goroutine of a Pool has to itself.
type worker struct {
	scratch []float32
	wanted  int      // floats asked for at most since the last trim
	_       [32]byte // keeps workers on cache lines of their own
}

// floats returns n floats of scratch memory with unspecified content; the next call gives the same
// memory again.
func (w *worker) floats(n int) []float32 {
	if w.wanted = max(w.wanted, n); len(w.scratch) < n {
		w.scratch = kernel.AlignedFloats(n)
	}
	return w.scratch[:n:n]
}

// job is an operation divided into parts that may run in any order, at the same time.
type job interface{ run(part int, w *worker) }

// Panic is a panic that happened on another goroutine than the one that it ends up on. If it was
// one of a Pool's helpers, the operation that it belongs to waits for the other helpers and then
// panics with it on the goroutine that called it.
type Panic struct {
	Value any
	Stack []byte // of the other goroutine
}

func (p *Panic) Error() string { return fmt.Sprintf("%v\n%s", p.Value, p.Stack) }

// NewPool returns a pool of the given number of workers, the calling goroutine included; less than
// 1 means as many as the machine has processors to offer.
func NewPool(workers int) *Pool {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{
		workers: make([]worker, workers),
		parked:  make([]chan struct{}, workers-1),
		asleep:  make([]atomic.Bool, workers-1),
	}
	for i := range p.parked {
		p.parked[i] = make(chan struct{}, 1)
		p.ended.Go(func() { p.help(i) })
	}
	return p
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return len(p.workers) }

// Observe makes each operation that follows compute its parts one after another, in the order in which
// workers take them, and tells f how long each took. So one processor can tell how an operation is
// divided among many. F must not keep the list. Nil ends that.
func (p *Pool) Observe(f func(parts []time.Duration)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observe = f
}

// Close ends the helpers and waits until they have. The pool is unusable afterwards. A second call
// does nothing.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed.Swap(true) {
		p.start()
	}
	p.ended.Wait()
}

// run computes parts 0..parts-1 of j and returns when all are done. A panic in any part is one of
// the caller's goroutine, once all workers have stopped.
func (p *Pool) run(j job, parts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		panic("tensor: operation on a closed Pool")
	}
	if p.observe != nil {
		p.runObserved(j, parts)
		return
	}
	if parts == 1 || len(p.workers) == 1 {
		for i := range parts {
			j.run(i, &p.workers[0])
		}
		return
	}
	p.job, p.parts = j, int64(parts)
	p.next.Store(0)
	p.busy.Store(int32(len(p.workers) - 1))
	p.start()
	defer p.finish()
	p.work(&p.workers[0])
}

func (p *Pool) runObserved(j job, parts int) {
	took := make([]time.Duration, parts)
	for i := range took {
		start := time.Now()
		j.run(i, &p.workers[0])
		took[i] = time.Since(start)
	}
	p.observe(took)
}

// finish waits for the helpers and passes their panic on.
func (p *Pool) finish() {
	p.next.Store(p.parts) // nothing is left to take, if the caller's part panicked
	for spins := 0; p.busy.Load() > 0; spins++ {
		wait(spins)
	}
	p.job = nil
	if failed := p.failed.Swap(nil); failed != nil {
		panic(failed)
	}
}

// start begins a round: helpers that spin see the counter change, those that sleep are woken.
func (p *Pool) start() {
	p.round.Add(1)
	for i := range p.asleep {
		if p.asleep[i].Swap(false) {
			p.parked[i] <- struct{}{}
		}
	}
}

func (p *Pool) work(w *worker) {
	for {
		i := p.next.Add(1) - 1
		if i >= p.parts {
			return
		}
		p.job.run(int(i), w)
	}
}

// spinRounds is how long a helper that has nothing to do watches for the next operation before it
// sleeps: some 50 µs, longer than the gap between two operations of a forward pass, shorter than
// anyone would notice.
const spinRounds = 2000

func (p *Pool) help(i int) {
	w := &p.workers[i+1]
	for seen := uint32(0); ; seen++ {
		for spins := 0; p.round.Load() == seen; spins++ {
			if spins < spinRounds {
				wait(spins)
				continue
			}
			p.asleep[i].Store(true)
			if p.round.Load() == seen || !p.asleep[i].Swap(false) {
				<-p.parked[i] // start took the mark back and has sent, or will
			}
		}
		if p.closed.Load() {
			return
		}
		p.help1(w)
	}
}

// help1 takes part in one round.
func (p *Pool) help1(w *worker) {
	defer func() {
		if v := recover(); v != nil {
			p.next.Store(p.parts)
			p.failed.CompareAndSwap(nil, &Panic{Value: v, Stack: debug.Stack()})
		}
		p.busy.Add(-1)
	}()
	p.work(w)
}

// trim gives scratch memory back that has not been asked for since the last trim.
func (p *Pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.workers {
		w := &p.workers[i]
		if len(w.scratch) > 2*w.wanted {
			w.scratch = nil
		}
		w.wanted = 0
	}
}

// wait is one turn of a busy loop; it lets other goroutines run now and then.
func wait(spins int) {
	kernel.Pause()
	if spins%64 == 63 {
		runtime.Gosched()
	}
}
