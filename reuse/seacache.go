package reuse

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// SeaCache skips all blocks while the content of their input changes little ("SeaCache:
// Spectral-Evolution-Aware Cache for Accelerating Diffusion Models", arXiv 2602.18993). It is
// TeaCache without a polynomial, on the modulated input of the first block's attention after a
// filter over the grid of tokens: the one that would estimate an image whose spectrum falls as
// 1/|f|^Power from what the step's noise has left of it. The first Warmup steps and the last are
// full.
type SeaCache struct {
	Threshold float64 `policy:"threshold" min:"0" help:"sum of changes from which on everything is computed"`
	Power     float64 `policy:"power" min:"0" help:"power by which the images' spectrum falls: 2 for images, 3 for video"`
	Warmup    int     `policy:"warmup,first-steps" min:"1" help:"full steps at the start"`

	// FilterForced also filters the input of the full steps at the start, with which the step after
	// them is compared: so the public code for HunyuanVideo, unlike that for Wan and FLUX.
	FilterForced bool `policy:"filter-forced" help:"also filter the input of the full steps at the start"`

	// Halves is SeparateHalves, also if empty, or JointHalves.
	Halves string `policy:"halves" values:"separate|joint" empty:"separate" help:"how guidance's two halves decide"`
}

// NewSeaCache returns a SeaCache with its defaults.
func NewSeaCache() *SeaCache {
	return &SeaCache{Threshold: 0.15, Power: 2, Warmup: 1, FilterForced: true}
}

// String returns the policy as Parse takes it.
func (p *SeaCache) String() string { return paramText("seacache", p) }

func (p *SeaCache) written() []string {
	names := []string{"threshold", "power", "warmup", "filter-forced"}
	if p.Halves == JointHalves {
		names = append(names, "halves")
	}
	return names
}

// Set changes one parameter.
func (p *SeaCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *SeaCache) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *SeaCache) Kind() Kind { return SkipsSteps }

// Granularity implements Described.
func (p *SeaCache) Granularity() Granularity { return ByStep }

func (p *SeaCache) check(plan Plan) error {
	if err := p.Validate(); err != nil {
		return named("seacache", err)
	}
	if len(plan.Sigma) != plan.Steps() {
		return named("seacache", fmt.Errorf("the noise of %d steps is known, want that of %d",
			len(plan.Sigma), plan.Steps()))
	}
	return nil
}

// CacheBytes implements Policy.
func (p *SeaCache) CacheBytes(model seam.Model, plan Plan, samples int) (int64, error) {
	return changeRunBytes(model.Shape(), samples), p.check(plan)
}

// NewRun implements Policy.
func (p *SeaCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.check(plan); err != nil {
		return nil, err
	}
	m := model.Shape()
	filter := newGridFilter(m)
	for position, sigma := range plan.Sigma {
		if forced := position < p.Warmup || position == plan.Steps()-1; forced && !p.FilterForced {
			filter.add(impulse(m.GridRows), impulse(m.GridCols))
		} else {
			filter.add(spectralKernel(m.GridRows, sigma, p.Power), spectralKernel(m.GridCols, sigma, p.Power))
		}
	}
	rule := changeRule{
		threshold: p.Threshold,
		warmup:    p.Warmup,
		joint:     p.Halves == JointHalves,
		expected:  func(change float64) float64 { return change },
		filter:    filter,
	}
	return newChangeRun(rule, m, plan, samples), nil
}

// spectralGain returns SeaCache's filter of an axis of n tokens, at each of its frequencies
// f = 0, 1/n, ..., -1/n in cycles per token, with a mean of 1:
//
//	g(f) ∝ a·S / (a²·S + b²),    S = 1/|f|^power
//
// which is Wiener's filter for a signal of spectrum S times a with noise of variance b², where
// a² = 1/(1+sigma²) is alpha-bar and b² = 1-a².
func spectralGain(n int, sigma, power float64) []float64 {
	const tiny, edge = 1e-16, 1e-6
	a2 := min(max(1/(1+sigma*sigma), edge), 1-edge)
	gain, sum := make([]float64, n), 0.0
	for i := range gain {
		f := float64(min(i, n-i)) / float64(n)
		s := 1 / (math.Pow(f, power) + tiny)
		gain[i] = math.Sqrt(a2) * s / (a2*s + 1 - a2 + tiny)
		sum += gain[i]
	}
	for i := range gain {
		gain[i] *= float64(n) / sum
	}
	return gain
}

// spectralKernel returns the numbers with which a circular convolution is spectralGain. They are
// real and symmetric, as the gain is.
func spectralKernel(n int, sigma, power float64) []float32 {
	gain, list := spectralGain(n, sigma, power), make([]float32, n)
	for at := range list {
		sum := 0.0
		for i, g := range gain {
			sum += g * math.Cos(2*math.Pi*float64(i*at%n)/float64(n))
		}
		list[at] = float32(sum / float64(n))
	}
	return list
}

// impulse returns the numbers with which a convolution changes nothing.
func impulse(n int) []float32 {
	list := make([]float32, n)
	list[0] = 1
	return list
}

// gridFilter filters the tokens of whole samples over their grid: by a circular convolution along
// each axis, another one at each position.
type gridFilter struct {
	text               int // of a sample's tokens: they stay as they are
	gridRows, gridCols int
	down, across       [][]float32 // of each position: along a column of the grid, and along a row

	positions          []int
	in, middle, out    *tensor.Tensor // [rows, D]; middle is filtered along the grid's rows alone
	acrossRow, downRow func(row int)
}

func newGridFilter(m *seam.Shape) *gridFilter {
	f := &gridFilter{text: m.Text, gridRows: m.GridRows, gridCols: m.GridCols}
	f.acrossRow, f.downRow = f.filterAcross, f.filterDown
	return f
}

// add adds the convolutions of the next position.
func (f *gridFilter) add(down, across []float32) {
	f.down, f.across = append(f.down, down), append(f.across, across)
}

// apply returns tokens filtered, each sample at its position, in g's memory.
func (f *gridFilter) apply(g *tensor.Graph, x *tensor.Tensor, positions []int) *tensor.Tensor {
	f.positions, f.in = positions, x
	f.middle, f.out = g.New(x.Rows, x.Cols), g.New(x.Rows, x.Cols)
	g.EachRow(x.Rows, x.Cols*f.gridCols, f.acrossRow)
	g.EachRow(x.Rows, x.Cols*f.gridRows, f.downRow)
	return f.out
}

// place returns the sample of a row, and its token's place in the grid, below 0 for a text's.
func (f *gridFilter) place(row int) (sample, token int) {
	n := f.text + f.gridRows*f.gridCols
	return row / n, row%n - f.text
}

func (f *gridFilter) filterAcross(row int) {
	sample, token := f.place(row)
	if token < 0 {
		copy(f.middle.Row(row), f.in.Row(row))
		return
	}
	weights := f.across[f.positions[sample]]
	convolve(f.middle.Row(row), weights, f.in, row, token%f.gridCols, 1)
}

func (f *gridFilter) filterDown(row int) {
	sample, token := f.place(row)
	if token < 0 {
		copy(f.out.Row(row), f.middle.Row(row))
		return
	}
	weights := f.down[f.positions[sample]]
	convolve(f.out.Row(row), weights, f.middle, row, token/f.gridCols, f.gridCols)
}

// convolve sets dst to the circular convolution at a row of x, which has place at along an axis
// whose neighbors are stride rows apart.
func convolve(dst, weights []float32, x *tensor.Tensor, row, at, stride int) {
	clear(dst)
	n := len(weights)
	for i := range n {
		kernel.AXPY(dst, weights[(at-i+n)%n], x.Row(row+(i-at)*stride))
	}
}
