package tokencache

import (
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tokencache/tokencache/tensor"
)

// tickRows is how many rows a team gathers for a tick. Products of fewer rows are slower; of more
// they are not faster, and their operands leave the cache: see docs/design.md.
const tickRows = 512

// trimTicks is after how many ticks a team gives memory back that these did not need.
const trimTicks = 256

// layout returns the teams among which the threads are divided.
func (e *engine) layout(n int) []*team {
	if e.layouts[n] == nil {
		for range n {
			pool := tensor.NewPool(e.threads / n)
			e.layouts[n] = append(e.layouts[n], &team{pool: pool, graph: tensor.NewGraph(pool)})
		}
	}
	return e.layouts[n]
}

// work is the life of worker i: it leads a team as long as there are more than i of them.
func (e *engine) work(i int) {
	for {
		t, group := e.next(i)
		if t == nil {
			return
		}
		failed := e.tick(t, group)
		e.settle(t, group, failed)
	}
}

// next waits for something to do.
func (e *engine) next(i int) (*team, []*sequence) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if e.closed && len(e.jobs) == 0 {
			return nil, nil
		}
		want := e.wantTeams()
		if want != e.teams && e.ticking == 0 {
			e.teams = want
			e.cond.Broadcast()
		}
		if want == e.teams && i < e.teams && len(e.ready) > 0 {
			t := e.layout(e.teams)[i]
			group := e.take(t)
			e.ticking++
			return t, group
		}
		e.cond.Wait()
	}
}

// trim gives back, whenever the engine has nothing left to do, what the work since the last time
// did not need.
func (e *engine) trim() {
	for _, teams := range e.layouts {
		for _, t := range teams {
			t.graph.Trim()
		}
	}
}

// order sorts the sequences that wait for a tick by their finish tags, and of equal ones the oldest
// first.
func (e *engine) order() {
	slices.SortFunc(e.ready, func(a, b *sequence) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.number, b.number))
	})
}

// take takes sequences for a tick off the queue, in its order: of one client the oldest come first,
// so that what is begun is finished before what came later goes on. It takes as many as make tickRows rows, but no more than
// leave as many for every other team that has nothing to do.
func (e *engine) take(t *team) []*sequence {
	e.order()
	first := e.ready[0]
	group, rows := append(t.taken[:0], first), first.rows()
	free := e.teams - e.ticking
	most := (len(e.ready) + free - 1) / free
	rest := e.ready[:0]
	for _, s := range e.ready[1:] {
		n := s.rows()
		fits := len(group) < most && rows+n <= tickRows && !first.alone && !s.alone && !first.job.whole && !s.job.whole
		if !fits {
			rest = append(rest, s)
			continue
		}
		group, rows = append(group, s), rows+n
	}
	clear(e.ready[len(rest):])
	e.ready, t.taken = rest, group
	for _, s := range group {
		s.job.ticking++
	}
	return group
}

// failure is why a tick failed, and whose fault it was, if that is known.
type failure struct {
	err error
	of  *sequence
}

// tick takes every sequence of a group one step further, unless its policy rejects the pass, and
// finishes those that are at their end.
// A panic becomes a failure.
func (e *engine) tick(t *team, group []*sequence) (failed *failure) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		p := &PanicError{Value: v, Stack: debug.Stack()}
		if inner, ok := v.(*tensor.Panic); ok {
			p.Value, p.Stack = inner.Value, inner.Stack
		}
		failed = &failure{err: p, of: t.culprit(group)}
	}()
	t.begun = nil
	t.graph.Reset()
	t.graph.SetContext(contextOf(group))
	rows := 0
	for _, s := range group {
		if !s.started {
			if err := s.start(e.model); err != nil {
				return &failure{err: err, of: s}
			}
		}
		s.prepare()
		rows += s.rows()
	}
	start := time.Now()
	t.pass(e.model, group)
	if t.graph.Err() != nil {
		return nil // cancelled: settle drops them all
	}
	seconds := time.Since(start).Seconds()
	if e.onTick != nil {
		e.onTick(Tick{Seconds: seconds, Sequences: len(group), Rows: rows})
	}
	for k, s := range group {
		flops := t.graph.OwnerFLOPs(k)
		s.flops += flops
		s.passFLOPs += flops
		s.seconds += seconds * float64(flops) / float64(max(1, t.graph.FLOPs()))
		if s.again {
			continue
		}
		if err := s.advance(e.pixels.latentChannels); err != nil {
			return &failure{err: err, of: s}
		}
		s.report()
	}
	for _, s := range group {
		if s.done() && s.job.ctx.Err() == nil {
			if err := e.finishImages(t, s); err != nil {
				return &failure{err: err, of: s}
			}
		}
	}
	return nil
}

// contextOf returns the context of the request that a tick is of, so that cancelling it stops the
// pass at once. A pass of several requests goes on to its end.
func contextOf(group []*sequence) context.Context {
	for _, s := range group[1:] {
		if s.job != group[0].job {
			return context.Background()
		}
	}
	return group[0].job.ctx
}

// finishImages decodes the images of a sequence at its end and puts them up for delivery.
func (e *engine) finishImages(t *team, s *sequence) error {
	j := s.job
	e.mu.Lock()
	e.denoised(j)
	j.decoding++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		j.tally(e.teams)
		j.decoding--
		e.mu.Unlock()
	}()
	for i := range s.images {
		start := time.Now()
		t.graph.Reset()
		img, err := e.decode(t.graph, s.images[i].path.X())
		if err != nil {
			return err
		}
		index := s.images[i].index
		if c, ok := s.checker(); ok {
			evidence := c.Evidence(i)
			img.Evidence = &evidence
		}
		img.Index, img.Class, img.Condition = index, j.class(index), j.conditions[index]
		j.forget(index)
		j.made.Add(1)
		e.mu.Lock()
		j.decode += time.Since(start)
		j.undelivered = append(j.undelivered, img)
		j.checked(img.Evidence)
		e.mu.Unlock()
		j.signal()
	}
	return nil
}

// settle puts the sequences of a tick back, or ends them.
func (e *engine) settle(t *team, group []*sequence, failed *failure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if failed != nil && failed.of != nil && failed.of.job.err == nil {
		failed.of.job.err = failed.err
	}
	_, panicked := failedPanic(failed)
	for _, s := range group {
		j := s.job
		j.ticking--
		e.serve(s.flops - s.charged)
		s.charged = s.flops
		switch err := j.ctx.Err(); {
		case err != nil && j.err == nil:
			j.err = err
		case failed != nil && failed.of == nil && len(group) == 1 && j.err == nil:
			j.err = failed.err
		}
		switch {
		case s.finished() && j.err == nil:
			j.cost.Add(s.cost())
			j.cost.UncachedFLOPs += e.model.PassFLOPs(len(s.positions)) * int64(s.images[0].path.Taken())
			j.cost.CacheBytes = max(j.cost.CacheBytes, int64(j.running)*j.cacheBytes)
			e.leave(s)
			j.free = append(j.free, s)
		case j.err != nil:
			if !s.finished() {
				e.denoised(j)
			}
			e.leave(s)
			s.close()
		default:
			if panicked {
				e.restart(s)
			}
			e.ready = append(e.ready, s)
		}
	}
	for _, s := range group {
		if s.job.err != nil {
			e.fail(s.job, s.job.err)
		} else {
			e.finish(s.job)
		}
	}
	t.forget()
	e.ticking--
	e.admit()
	if t.ticks++; t.ticks%trimTicks == 0 {
		t.graph.Trim()
	}
	if e.flying == 0 && e.ticking == 0 {
		e.trim()
	}
}

// failedPanic returns the panic of a failed tick.
func failedPanic(f *failure) (*PanicError, bool) {
	if f == nil {
		return nil, false
	}
	p, ok := f.err.(*PanicError)
	return p, ok
}

// restart takes a sequence back to its beginning, as another one's panic left its policy in the
// middle of a pass. It shares no tick from now on, so that if it panics itself nobody else is
// disturbed. Its image is the same.
func (e *engine) restart(s *sequence) {
	s.alone, s.started = true, false
	if s.member != nil {
		s.member.Close()
		s.member = nil
	}
}
