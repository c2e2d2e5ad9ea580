package train

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Trajectories are the states of the model's own samples from noise to image. They train a
// predictor without a data set.
type Trajectories struct {
	Plan reuse.Plan
	X    [][]float32      // of each image, [steps, C*S*S]: before each step
	Cond []seam.Condition // of each image
}

// Batch returns the states of the trajectories [from, to) before a step, as a batch of their
// conditions.
func (t *Trajectories) Batch(position, from, to int) *seam.Batch {
	size := len(t.X[from]) / t.Plan.Steps()
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, (to-from)*size), to-from, size)}
	for i := from; i < to; i++ {
		copy(b.X.Row(i-from), t.X[i][position*size:])
		b.T = append(b.T, float32(t.Plan.Timesteps[position]))
		b.Cond = append(b.Cond, t.Cond[i])
	}
	return b
}

// PredictorOptions says how a PredictorTask trains.
type PredictorOptions struct {
	reuse.Superposed
	Lambda   float64 `json:"lambda"` // weight of the cost
	ISteps   []int   `json:"i_steps"`
	Seed     uint64  `json:"seed"`
	Guidance bool    `json:"guidance"` // give half of the examples the null condition

	// Choice, if not nil, is the policy whose choice of tokens the estimate makes.
	Choice *reuse.TokenCache `json:"choice,omitempty"`

	// Renew, if not nil, returns the trajectories of rounds from 1 on, of RoundExamples examples each,
	// given the predictor as it is then: those of its own choices. It must return the same for the same
	// predictor and round.
	Renew         func(round int, p *reuse.Predictor) (*Trajectories, error) `json:"-"`
	RoundExamples int64                                                      `json:"round_examples,omitempty"`
}

// PredictorTask is the training of a cache predictor with the model frozen. An example is a P-step
// of a trajectory: passes of the model at the I-steps before it fill the cache, a pass at the step
// itself gives the target x[L], and a pass in which every block's update is superposed with its
// cached one gives the estimate x^[L]:
//
//	loss = |x^[L] - x[L]|² / |x⁰[L] - x[L]|² + lambda * mean(alpha)
//
// where x⁰ is the estimate without any computation. The ratio makes all steps count equally and
// lambda independent of scale.
//
// With a Choice the estimate computes the tokens that sampling would, those of the largest alpha, and
// gradients pass straight through the choice. The errors are then those of the model's output, after
// its last layer, and the cost is lambda·(mean(alpha)/ratio - 1)²: what is computed is given, and
// alpha must be kept from saturating. The trajectories should be of the policy's own sampling: at
// first with random tokens, in later rounds with those that the predictor chooses (Renew), so that
// the states are those that several P-steps in a row have left.
type PredictorTask struct {
	Predictor *reuse.Predictor

	model   seam.Model // frozen
	params  []*tensor.Param
	options PredictorOptions
	data    *Trajectories
	round   int       // that data are of
	targets []int     // the P-steps, with a Choice those that compute tokens
	before  [][]int   // the I-steps that fill the cache, for each of targets
	ratios  []float64 // of each step: the share that a Choice computes
	soft    *reuse.Superposition
	samples int
	batch   seam.Batch
	target  []float32
}

// NewPredictorTask returns the training of a new predictor for a frozen model with weights src.
func NewPredictorTask(kind reuse.Importance, m seam.Model, src nn.Source, t *Trajectories,
	o PredictorOptions) (*PredictorTask, error) {
	if len(t.X) == 0 {
		return nil, errors.New("no trajectories to train a predictor on")
	}
	config := reuse.NewPredictorConfig(kind, m.Shape())
	p, params, err := reuse.NewTrainablePredictor(config, reuse.InitPredictor{
		Config: config,
		Model:  src,
		Block:  blockName(m),
		Seed:   o.Seed,
	})
	if err != nil {
		return nil, err
	}
	task := &PredictorTask{Predictor: p, model: m, params: params, options: o, data: t}
	full := make([]bool, t.Plan.Steps())
	for _, i := range o.ISteps {
		full[i] = true
	}
	if o.Choice != nil {
		if task.ratios, err = o.Choice.StepRatios(t.Plan.Steps()); err != nil {
			return nil, err
		}
	}
	var fill []int
	for position, is := range full {
		if is {
			fill = append(fill, position)
			continue
		}
		if len(fill) == 0 {
			return nil, errors.New("the first step must be an I-step")
		}
		if r := task.ratios; r != nil && (r[position] == 0 || r[position] == 1) {
			continue
		}
		task.targets = append(task.targets, position)
		task.before = append(task.before, append([]int(nil), fill[max(0, len(fill)-o.Order-1):]...))
	}
	if len(task.targets) == 0 {
		return nil, fmt.Errorf("all %d steps are I-steps: want at least 1 P-step to predict", len(full))
	}
	return task, nil
}

// blockName returns the name of the first block of a model whose blocks are like a dynamic
// predictor's, "" of others.
func blockName(m seam.Model) string {
	if named, ok := m.(interface{ BlockName(block int) string }); ok {
		return named.BlockName(0)
	}
	return ""
}

// Params lists the predictor's parameters.
func (t *PredictorTask) Params() []*tensor.Param { return t.params }

// Measures are the loss, the relative error of the estimate, and the mean importance.
func (t *PredictorTask) Measures() []string { return []string{"loss", "error", "alpha"} }

// Changed implements Task: it repacks the weights.
func (t *PredictorTask) Changed() { t.Predictor.Repack() }

// Accumulate implements Task. The examples of a call share one step.
func (t *PredictorTask) Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error) {
	defer g.Reset()
	if err := t.renew(first); err != nil {
		return nil, err
	}
	size := len(t.data.X[0]) / t.data.Plan.Steps()
	t.allocate(g, count, size)
	position, without := t.prepare(g, first, count, size)
	if err := g.Err(); err != nil {
		return nil, err
	}
	g.StartTape()
	alpha := t.Predictor.Forward(g, t.model, &t.batch)
	if t.options.Choice != nil {
		if err := alpha.Harden(g, t.options.Choice, t.model.Shape(), t.ratios[position]); err != nil {
			return nil, err
		}
	}
	t.soft.Estimate(alpha, position)
	estimate := t.compared(seam.Forward(g, t.model, t.soft, &t.batch))
	if err := g.Err(); err != nil {
		return nil, err
	}
	const eps = 1e-12
	norm := 1 / (without + eps)
	left := squaredError(estimate.Flat(), t.target) * norm
	grad := g.New(estimate.Rows, estimate.Cols)
	weight := scale * float64(count) // the loss is of the examples together
	kernel.Sub(grad.Flat(), estimate.Flat(), t.target)
	kernel.Scale(grad.Flat(), grad.Flat(), float32(2*norm*weight))
	g.AddGrad(estimate, grad)

	all := alpha.All()
	cost := g.New(all.Rows, all.Cols)
	clear(cost.Flat())
	m := t.model.Shape()
	pairs := all.Rows * all.Cols / m.Tokens * m.Image() // of block and image token
	mean := 0.0
	for i := range all.Rows {
		from, to := alpha.OfImage(m, i)
		mean += float64(kernel.Sum(all.Row(i)[from:to])) / float64(pairs)
	}
	price, slope := t.cost(mean, position)
	for i := range all.Rows {
		from, to := alpha.OfImage(m, i)
		for j := from; j < to; j++ {
			cost.Row(i)[j] = float32(slope * weight / float64(pairs))
		}
	}
	g.AddGrad(all, cost)
	g.Backward()
	n := float64(count)
	return []float64{n * (left + price), n * left, n * mean}, g.Err()
}

// renew takes the trajectories of the round of an example.
func (t *PredictorTask) renew(example int64) (err error) {
	if t.options.Renew == nil || t.options.RoundExamples <= 0 {
		return nil
	}
	if round := int(example / t.options.RoundExamples); round != t.round {
		t.data, err = t.options.Renew(round, t.Predictor)
		t.round = round
	}
	return err
}

// cost returns the cost of a mean importance at a step, and its slope.
func (t *PredictorTask) cost(mean float64, position int) (price, slope float64) {
	if t.options.Choice == nil {
		return t.options.Lambda * mean, t.options.Lambda
	}
	ratio := t.ratios[position]
	off := mean/ratio - 1
	return t.options.Lambda * off * off, 2 * t.options.Lambda * off / ratio
}

// compared returns what of a pass is compared: the tokens after the last block, or with a Choice the
// prediction out.
func (t *PredictorTask) compared(out *tensor.Tensor) *tensor.Tensor {
	if t.options.Choice == nil {
		return t.soft.Last()
	}
	return out
}

// allocate makes the scratch memory for batches of count examples of size elements.
func (t *PredictorTask) allocate(g *tensor.Graph, count, size int) {
	if t.soft != nil && t.samples == count {
		return
	}
	t.samples = count
	t.soft = reuse.NewSuperposition(g, t.model.Shape(), count, t.options.Superposed)
	t.batch = seam.Batch{
		X:    tensor.FromSlice(make([]float32, count*size), count, size),
		T:    make([]float32, count),
		Cond: make([]seam.Condition, count),
	}
}

// prepare chooses the examples of a call, fills the cache at the I-steps before theirs and sets the
// batch and the target. It returns the examples' step and the squared error of the estimate without
// any computation.
func (t *PredictorTask) prepare(g *tensor.Graph, first int64, count, size int) (position int, without float64) {
	r := newRand("predictor example", t.options.Seed, uint64(first))
	which := r.IntN(len(t.targets))
	position = t.targets[which]
	images := make([]int, count)
	for i := range images {
		images[i] = r.IntN(len(t.data.X))
		t.batch.Cond[i] = t.data.Cond[images[i]]
		if null := r.IntN(2) == 1; null && t.options.Guidance {
			t.batch.Cond[i] = t.model.NullCondition()
		}
	}
	at := func(p int) {
		for i, image := range images {
			copy(t.batch.X.Row(i), t.data.X[image][p*size:(p+1)*size])
			t.batch.T[i] = float32(t.data.Plan.Timesteps[p])
		}
	}
	t.soft.Reset()
	for _, p := range t.before[which] {
		at(p)
		t.soft.Fill(p)
		seam.Forward(g, t.model, t.soft, &t.batch)
		g.Reset()
	}
	at(position)
	t.soft.Compute()
	t.target = append(t.target[:0], t.compared(seam.Forward(g, t.model, t.soft, &t.batch)).Flat()...)
	g.Reset()
	x := t.model.Embed(g, &t.batch)
	forecast := t.soft.Forecast(x.X, position)
	if t.options.Choice != nil {
		forecast = t.model.Head(g, x.With(forecast))
	}
	without = squaredError(forecast.Flat(), t.target)
	g.Reset()
	return position, without
}

// squaredError returns |a - b|², summed in float64 over chunks summed in float32.
func squaredError(a, b []float32) float64 {
	const chunk = 1 << 10
	sum := 0.0
	diff := make([]float32, chunk)
	for len(a) > 0 {
		n := min(chunk, len(a))
		kernel.Sub(diff[:n], a[:n], b[:n])
		sum += float64(kernel.SumSquares(diff[:n]))
		a, b = a[n:], b[n:]
	}
	return sum
}

// Tensors lists the predictor's tensors.
func (t *PredictorTask) Tensors() []ModelTensor {
	var list []ModelTensor
	for _, w := range t.Predictor.PredictorConfig.Tensors() {
		list = append(list, ModelTensor{Name: w.Name, Shape: w.Shape})
	}
	return list
}

// Metadata returns the predictor's configuration.
func (t *PredictorTask) Metadata() (map[string]string, error) {
	b, err := t.Predictor.PredictorConfig.JSON()
	return map[string]string{checkpoint.ConfigKey: string(b)}, err
}
