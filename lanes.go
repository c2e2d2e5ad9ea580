package tokencache

import (
	"context"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// lane is a share of the processors with what they need for a share of a batch's images. Within a step lanes do not wait for each other, where the processors of one lane wait after every
// operation: see docs/design.md, "The Graph".
type lane struct {
	graph *tensor.Graph
	cache reuse.Run
}

// mostShared is the size of the largest model whose batches are divided. The operations of larger ones are long enough that waiting costs nothing, while each lane reads all weights.
const mostShared = 256 << 20

// divide makes as many lanes for batches of so many images as give each the same number of images and of processors, or one if it must.
func (r *run) divide(images int) error {
	n := 1
	if !r.req.Undivided && r.p.model.Bytes() <= mostShared {
		n = commonDivisor(images, r.p.Threads())
	}
	if n == len(r.lanes) {
		return nil
	}
	r.before, r.lanes = r.cached(), nil // so that there are never two caches
	var err error
	if r.lanes, err = r.newLanes(n, images/n); n > 1 && err != nil {
		r.req.Undivided = true // to say what the whole batch needs
		return r.divide(images)
	}
	return err
}

func (r *run) newLanes(n, images int) ([]*lane, error) {
	if r.guidance.Enabled() {
		images *= 2
	}
	limit := r.req.CacheMemory
	if limit > 0 {
		limit = max(1, limit/int64(n))
	}
	var lanes []*lane
	for _, g := range r.p.graphs(n) {
		cache, err := r.policy.NewRun(g, r.p.model, newPlan(r.req.Sampler, r.req.Steps, r.sampler), images, limit)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, &lane{g, cache})
	}
	return lanes, nil
}

func commonDivisor(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// cached says what all lanes did until now, those for batches of another size included.
func (r *run) cached() reuse.Stats {
	sum, bytes := r.before, int64(0)
	for _, l := range r.lanes {
		s := l.cache.Stats()
		sum.ISteps += s.ISteps
		sum.PSteps += s.PSteps
		sum.HalfSteps += s.HalfSteps
		sum.TokensDone += s.TokensDone
		sum.Tokens += s.Tokens
		bytes += s.CacheBytes
	}
	sum.CacheBytes = max(sum.CacheBytes, bytes)
	return sum
}

// graphs returns graphs for n lanes, which share the pipeline's processors equally.
func (p *Pipeline) graphs(n int) []*tensor.Graph {
	if n == 1 {
		return []*tensor.Graph{p.graph}
	}
	if p.lanes[n] == nil {
		if p.lanes == nil {
			p.lanes = map[int][]*tensor.Graph{}
		}
		for range n {
			pool := tensor.NewPool(p.Threads() / n)
			p.pools = append(p.pools, pool)
			p.lanes[n] = append(p.lanes[n], tensor.NewGraph(pool))
		}
	}
	return p.lanes[n]
}

// idle forgets the run that was.
func (p *Pipeline) idle() {
	all := []*tensor.Graph{p.graph}
	for _, lanes := range p.lanes {
		all = append(all, lanes...)
	}
	for _, g := range all {
		g.Reset()
		g.SetContext(context.Background())
	}
}
