package reuse

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Features that L2P and DMD forecast.
const (
	OutputFeature = "output" // what the model predicts for a sample, before guidance
	HiddenFeature = "hidden" // the last block's output
)

// L2P computes all blocks at the steps of a list, and forecasts a feature at the others as a
// learned linear combination of it at all earlier steps (arXiv 2604.26365),
//
//	F_p = sum over q < p of Weights[p][q] · F_q,
//
// where F_q of a step that was not computed is its own forecast. The weights are least squares over
// uncached images, the same for all elements. The method has no public code: this follows its
// description.
type L2P struct {
	List    []int  `json:"i" policy:"i" min:"0" help:"positions of the steps that compute everything, as in 0+3+7"`
	Feature string `json:"feature" policy:"feature" values:"output|hidden" help:"what is forecast: the model's output, or the last block's"`

	// Weights are [steps][steps], of which those at earlier positions count; rows of computed steps
	// are not used.
	Weights [][]float32 `json:"-"`
}

// NewL2P returns an L2P of the model's output, without steps and weights.
func NewL2P() *L2P { return &L2P{Feature: OutputFeature} }

// String returns the method with its steps; the weights are in the policy's folder.
func (p *L2P) String() string { return paramText("l2p", p) }

// ContentHash implements ContentHasher.
func (p *L2P) ContentHash() string {
	h := sha256.New()
	for _, row := range p.Weights {
		binary.Write(h, binary.LittleEndian, row)
	}
	return fmt.Sprintf("%s %x", p, h.Sum(nil))
}

// Validate reports steps and weights that have no meaning.
func (p *L2P) Validate() error {
	if len(p.List) == 0 || p.List[0] != 0 {
		return fmt.Errorf("i: positions %v: want the computed steps, from 0 on", p.List)
	}
	if len(p.Weights) == 0 {
		return errors.New("no weights: want the folder of a trained policy")
	}
	for i, row := range p.Weights {
		if len(row) != len(p.Weights) {
			return fmt.Errorf("%d weights at position %d of %d: want one for each position",
				len(row), i, len(p.Weights))
		}
		for _, w := range row {
			if math.IsNaN(float64(w)) || math.IsInf(float64(w), 0) {
				return fmt.Errorf("a weight at position %d is %g: want finite numbers", i, w)
			}
		}
	}
	if err := checkParams(p); err != nil {
		return err
	}
	return (&KeySteps{List: p.List}).check()
}

// Kind implements Described.
func (p *L2P) Kind() Kind { return Extrapolates }

// Granularity implements Described.
func (p *L2P) Granularity() Granularity { return ByStep }

// resolve returns for each position whether it is computed, and its slot among the features that
// are kept, or -1 if no forecast needs it.
func (p *L2P) resolve(plan Plan) (full []bool, slots []int, count int, err error) {
	if err := p.Validate(); err != nil {
		return nil, nil, 0, named("l2p", err)
	}
	steps := plan.Steps()
	if len(p.Weights) != steps {
		return nil, nil, 0, fmt.Errorf("l2p: weights of %d steps for a plan of %d", len(p.Weights), steps)
	}
	if full, err = (&KeySteps{List: p.List}).resolve(steps); err != nil {
		return nil, nil, 0, named("l2p", err)
	}
	slots = make([]int, steps)
	for q := range slots {
		slots[q] = -1
		for at := q + 1; at < steps; at++ {
			if !full[at] && p.Weights[at][q] != 0 {
				slots[q] = count
				count++
				break
			}
		}
	}
	return full, slots, count, nil
}

// featureSize returns the numbers of a sample's feature, rows of it and their width.
func featureSize(feature string, m *seam.Shape) (rows, width int) {
	if feature == HiddenFeature {
		return m.Tokens, m.Width
	}
	return 1, m.OutChannels * m.LatentRows * m.LatentCols
}

// CacheBytes implements Policy.
func (p *L2P) CacheBytes(model seam.Model, plan Plan, samples int) (int64, error) {
	_, _, count, err := p.resolve(plan)
	rows, width := featureSize(p.Feature, model.Shape())
	return 4 * int64(count) * int64(samples) * int64(rows) * int64(width), err
}

// Shares implements Scheduled.
func (p *L2P) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	full, _, _, err := p.resolve(plan)
	if err != nil {
		return nil, err
	}
	return fullShares(plan, func(position int) bool { return full[position] }), nil
}

// NewRun implements Policy.
func (p *L2P) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	full, slots, count, err := p.resolve(plan)
	if err != nil {
		return nil, err
	}
	m := model.Shape()
	r := &l2pRun{policy: p, wholeSteps: newWholeSteps(m, samples, full), slots: slots}
	rows, width := featureSize(p.Feature, m)
	for range count {
		r.past = append(r.past, newRows(samples*rows, width))
	}
	r.rows, r.combineRow = rows, r.combine
	return r, nil
}

// l2pRun is the state of an L2P.
type l2pRun struct {
	wholeSteps
	policy *L2P
	slots  []int            // of each position, in past; -1: it is not kept
	past   []*tensor.Tensor // features, each [samples*rows, width]
	rows   int              // of a sample

	feature    *tensor.Tensor // of the step that runs
	combineRow func(row int)
}

// Apply implements seam.Reuse.
func (r *l2pRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	y := r.block(x, f)
	if r.isLast(at) && r.policy.Feature == HiddenFeature {
		r.take(y.X)
	}
	return y
}

// Finish implements seam.Finisher.
func (r *l2pRun) Finish(out *tensor.Tensor) bool {
	if r.policy.Feature == OutputFeature {
		r.take(out)
	}
	return false
}

// take replaces the features of samples that do not compute by their forecasts, and keeps all.
func (r *l2pRun) take(feature *tensor.Tensor) {
	r.feature = feature
	r.g.EachRow(feature.Rows, feature.Cols*len(r.past), r.combineRow)
}

func (r *l2pRun) combine(row int) {
	p, x := r.positions[row/r.rows], r.feature.Row(row)
	if !r.full[p] {
		clear(x)
		for q, w := range r.policy.Weights[p][:p] {
			if w != 0 {
				kernel.AXPY(x, w, r.past[r.slots[q]].Row(row))
			}
		}
	}
	if slot := r.slots[p]; slot >= 0 {
		copy(r.past[slot].Row(row), x)
	}
}

// Reset implements Run: forecasts use only what this batch has kept.
func (r *l2pRun) Reset() {}

// l2pTensor is the name of the weights in PredictorFile, [steps, steps].
const l2pTensor = "l2p"

// Write writes the weights to a safetensors file.
func (p *L2P) Write(path string) error {
	steps := len(p.Weights)
	return checkpoint.WriteSafetensors(path, checkpoint.Content{
		Tensors: []checkpoint.Info{{Name: l2pTensor, DType: checkpoint.F32, Shape: []int{steps, steps}}},
		Read: func(_ string, dst []float32) error {
			for i, row := range p.Weights {
				copy(dst[i*steps:], row)
			}
			return nil
		},
	})
}

// readL2P reads what Write wrote.
func readL2P(f *checkpoint.File) ([][]float32, error) {
	info, ok := f.Lookup(l2pTensor)
	if !ok || len(info.Shape) != 2 || info.Shape[0] != info.Shape[1] ||
		info.Shape[0] < 1 || info.Shape[0] > maxRouterSteps {
		return nil, fmt.Errorf("%s: no tensor %s of shape [steps, steps], of 1 to %d steps",
			f.Path, l2pTensor, maxRouterSteps)
	}
	all, err := f.Float32(l2pTensor)
	if err != nil {
		return nil, err
	}
	return slices.Collect(slices.Chunk(all, info.Shape[0])), nil
}
