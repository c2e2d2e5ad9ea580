package reuse

import (
	"math/rand/v2"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ClusCa forecasts the outputs of attention and MLP as TaylorSeer does, and computes the MLP of a
// few tokens at every step ("Compute Only 16 Tokens in One Timestep: Accelerating Diffusion
// Transformers with Cluster-Driven Feature Caching", arXiv 2509.10312). All is computed at the
// first Warmup steps and then at every Interval-th. After each of these the image's tokens are
// clustered by their values after the last block (see clusters), for all blocks.
//
// At the other steps attention is its forecast, and each block computes the MLP of PerCluster
// random tokens of each cluster. What was computed is propagated to the whole cluster: with the
// mean m of what was computed of a token's cluster and what is cached of the token, d0, the token's
// own if it was computed now,
//
//	d0 ← Gamma·m + (1-Gamma)·d0,
//
// and the output is d0 + d1·h + d2·h²/2 + ..., h steps after the last full one. So it is in the
// public code for DiT: what is computed now is extrapolated as if it was of the last full step, and
// the differences of the next one start from it.
//
// A text's tokens are in no cluster, and all are computed.
type ClusCa struct {
	Interval   int     `policy:"n,interval,fresh-threshold" min:"1" help:"period of full steps"`
	Order      int     `policy:"order,max-order" min:"0" max:"4" help:"highest order of the Taylor series"`
	Warmup     int     `policy:"warmup,first-enhance" min:"1" help:"full steps at the start"`
	Clusters   int     `policy:"clusters,cluster-num" min:"1" help:"clusters of tokens"`
	PerCluster int     `policy:"topk,k" min:"1" help:"tokens of each cluster whose MLP other steps compute"`
	Gamma      float64 `policy:"gamma,propagation-ratio" min:"0" max:"1" help:"weight of what was computed of a token's cluster"`
	Seed       int     `policy:"seed" help:"seed of the first centres and of the choice of tokens"`
}

// NewClusCa returns a ClusCa with its defaults, those of the public scripts for DiT.
func NewClusCa() *ClusCa {
	return &ClusCa{
		Interval:   4,
		Order:      4,
		Warmup:     2,
		Clusters:   16,
		PerCluster: 1,
		Gamma:      0.007,
	}
}

// String returns the policy as Parse takes it.
func (p *ClusCa) String() string { return paramText("clusca", p) }

// Set changes one parameter.
func (p *ClusCa) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *ClusCa) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *ClusCa) Kind() Kind {
	if p.Order == 0 {
		return Caches
	}
	return Extrapolates
}

// Granularity implements Described.
func (p *ClusCa) Granularity() Granularity { return ByToken }

// full reports whether a position computes everything.
func (p *ClusCa) full(position int) bool {
	return fullEvery(p.Warmup, p.Interval, position)
}

// clusters returns how many clusters n tokens have.
func (p *ClusCa) clusters(n int) int { return min(p.Clusters, n) }

// kept returns how many of an image's n tokens a step that is not full computes in each block.
func (p *ClusCa) kept(n int) int {
	clusters := p.clusters(n)
	return clusters * min(p.PerCluster, n/clusters)
}

// CacheBytes implements Policy.
func (p *ClusCa) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	m := model.Shape()
	return branchesBytes(exactCache(m), samples, p.Order) + clustersBytes(samples, p.clusters(m.Image()), m),
		named("clusca", p.Validate())
}

// Shares implements Scheduled.
func (p *ClusCa) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("clusca", err)
	}
	return sharesBy(plan, func(position int) float64 {
		if p.full(position) {
			return 1
		}
		return float64(m.Text+p.kept(m.Image())) / float64(2*m.Tokens)
	}), nil
}

// NewRun implements Policy.
func (p *ClusCa) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("clusca", err)
	}
	m := model.Shape()
	r := &cluscaRun{
		fullSteps: newFullSteps(exactCache(m), plan, samples, p.Order, p.full),
		policy:    *p,
		text:      m.Text,
		last:      m.Blocks - 1,
		kept:      p.kept(m.Image()),
		clusters:  newClusters(m, samples, p.clusters(m.Image()), uint64(p.Seed)),
		order:     make([]int32, m.Image()),
		chosen:    make([]bool, m.Image()),
		place:     make([]int32, samples*m.Tokens),
	}
	r.past.since = p.Warmup - 1
	r.taken = make([]int, r.clusters.k)
	r.random = rand.New(&r.source)
	r.swap = func(i, j int) { r.order[i], r.order[j] = r.order[j], r.order[i] }
	r.settleRow = r.settle
	return r, nil
}

// exactCache returns m with caches in float32: what is propagated at a step changes what is kept.
func exactCache(m *seam.Shape) *seam.Shape {
	shape := *m
	shape.Cache = tensor.F32
	return &shape
}

// cluscaRun is the state of a ClusCa.
type cluscaRun struct {
	*fullSteps
	policy   ClusCa
	text     int // of tokens, the first ones
	last     int // block
	kept     int // image tokens of a sample that a step that is not full computes
	clusters *clusters

	source    rand.PCG
	random    *rand.Rand
	swap      func(i, j int)
	order     []int32        // of an image's tokens: a random order
	chosen    []bool         // of each of them
	taken     []int          // of each cluster: tokens that are chosen, or were computed
	place     []int32        // of each row: where it is among the rows that were computed, or -1
	means     *tensor.Tensor // of what was computed of each sample's clusters, [samples*k, D]
	settleRow func(row int)
}

// Sites implements seam.Reuse.
func (r *cluscaRun) Sites() seam.Sites { return seam.SitesOf(seam.Block, seam.Attention, seam.MLP) }

// Apply implements seam.Reuse.
func (r *cluscaRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch at.Part {
	case seam.Attention:
		return r.apply(at, x, f, r.isFull)
	case seam.MLP:
		return r.process(at, x, f)
	}
	y := f(x)
	if at.Block == r.last {
		for s, p := range r.positions {
			if r.isFull(s) {
				r.clusters.update(r.g, s, p, y.X)
			}
		}
	}
	return y
}

// process computes the MLP of the tokens of full samples, and of those that are chosen of others.
func (r *cluscaRun) process(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.branch = branchOf(at)
	index, partial := r.index[:0], false
	for s := range r.positions {
		full := r.isFull(s)
		if !full {
			partial = true
			r.choose(at.Block, s)
		}
		for i := range r.tokens {
			row := s*r.tokens + i
			r.place[row] = -1
			if full || i < r.text || r.chosen[i-r.text] {
				r.place[row] = int32(len(index))
				index = append(index, int32(row))
			}
		}
	}
	r.index = index
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(index))
	r.out = r.g.New(x.X.Rows, r.width)
	if len(index) == x.X.Rows {
		r.fresh = f(x).X
	} else {
		r.fresh = f(x.Gather(r.g, index)).X
	}
	if partial {
		r.average()
	}
	r.g.EachRow(x.X.Rows, r.width, r.settleRow)
	return x.With(r.out)
}

// choose chooses the image tokens of a sample that a block computes, those of each cluster at
// random. Where clusters have fewer tokens than are to be computed of each, other tokens make up
// the number. Samples at the same position have the same random numbers.
func (r *cluscaRun) choose(block, s int) {
	r.source.Seed(uint64(r.policy.Seed), uint64(r.positions[s])<<32|uint64(block+1))
	for i := range r.order {
		r.order[i] = int32(i)
	}
	r.random.Shuffle(len(r.order), r.swap)
	clear(r.chosen)
	clear(r.taken)
	labels, rest := r.clusters.labelsOf(s), r.kept
	each := r.kept / r.clusters.k
	for _, i := range r.order {
		if label := labels[i]; r.taken[label] < each {
			r.taken[label]++
			r.chosen[i] = true
			rest--
		}
	}
	for _, i := range r.order {
		if rest > 0 && !r.chosen[i] {
			r.chosen[i] = true
			rest--
		}
	}
}

// average sets means from what was computed of samples that are not full.
func (r *cluscaRun) average() {
	k := r.clusters.k
	r.means = r.g.New(len(r.positions)*k, r.width)
	for s := range r.positions {
		if r.isFull(s) {
			continue
		}
		clear(r.taken)
		for c := range k {
			clear(r.means.Row(s*k + c))
		}
		for i, label := range r.clusters.labelsOf(s) {
			if at := r.place[s*r.tokens+r.text+i]; at >= 0 {
				mean := r.means.Row(s*k + int(label))
				kernel.Add(mean, mean, r.fresh.Row(int(at)))
				r.taken[label]++
			}
		}
		for c, n := range r.taken {
			if n > 1 {
				kernel.Scale(r.means.Row(s*k+c), r.means.Row(s*k+c), 1/float32(n))
			}
		}
	}
}

// settle sets a row of the output, and its cache.
func (r *cluscaRun) settle(row int) {
	s, place, out := row/r.tokens, r.place[row], r.out.Row(row)
	if r.isFull(s) {
		copy(out, r.fresh.Row(int(place)))
		r.past.record(r.branch, row, r.positions[s], r.fresh.Row(int(place)))
		return
	}
	cached := r.past.of(r.branch, row)[:r.width]
	if place >= 0 {
		copy(cached, r.fresh.Row(int(place)))
	}
	if i, gamma := row-s*r.tokens-r.text, float32(r.policy.Gamma); gamma > 0 && i >= 0 {
		mean := r.means.Row(s*r.clusters.k + int(r.clusters.labelsOf(s)[i]))
		kernel.Scale(cached, cached, 1-gamma)
		kernel.AXPY(cached, gamma, mean)
	}
	clear(out)
	r.past.addForecast(out, r.branch, row, r.positions[s])
}

// Reset implements Run.
func (r *cluscaRun) Reset() {
	r.fullSteps.Reset()
	r.clusters.reset()
}
