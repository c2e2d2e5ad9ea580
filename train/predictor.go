package train

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// Trajectories are the states of images on their way from noise to a sample, as the model's own sampler took them: what a predictor is trained on, without
// any pictures.
type Trajectories struct {
	Plan   reuse.Plan
	X      [][]float32 // of each image, [steps, C*S*S]: before each step
	Labels []int32     // class of each image
}

// PredictorOptions says how a PredictorTask trains.
type PredictorOptions struct {
	Lambda   float64      `json:"lambda"` // weight of the mean importance, the cost
	Cached   reuse.Cached `json:"cached"`
	Order    int          `json:"order"` // of the forecasts that pruned tokens get
	ISteps   []int        `json:"i_steps"`
	Seed     uint64       `json:"seed"`
	Guidance bool         `json:"guidance"` // half of the examples have the null class, as guidance's second rows have
}

// PredictorTask is the training of a cache predictor with the model frozen. An example is a P-step of a trajectory: passes of the model at the I-steps before it fill the
// cache, a pass at the step itself gives the target x[L], and a pass in which every block's update is superposed with its cached one gives the estimate x^[L]:
//
//	loss = |x^[L] - x[L]|² / |x⁰[L] - x[L]|² + lambda * mean(alpha)
//
// where x⁰ is the estimate without any computation, so that steps count alike and lambda has a meaning of its own.
type PredictorTask struct {
	Predictor *reuse.Predictor

	model   *dit.Model // frozen
	params  []*tensor.Param
	options PredictorOptions
	data    *Trajectories
	targets []int   // the P-steps
	before  [][]int // for each of them, the I-steps that fill the cache
	soft    *reuse.Superposition
	samples int
	batch   dit.Batch
	target  []float32
}

// NewPredictorTask returns the training of a new predictor for a frozen model, whose weights src gives.
func NewPredictorTask(kind reuse.Importance, m *dit.Model, src nn.Source, t *Trajectories, o PredictorOptions) (*PredictorTask, error) {
	if len(t.X) == 0 {
		return nil, errors.New("no trajectories to train a predictor on")
	}
	config := reuse.NewPredictorConfig(kind, m)
	p, params, err := reuse.NewTrainablePredictor(config, reuse.FreshPredictor{Config: config, Model: src, Block: m.BlockName(0), Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	task := &PredictorTask{Predictor: p, model: m, params: params, options: o, data: t}
	full := make([]bool, t.Plan.Steps())
	for _, i := range o.ISteps {
		full[i] = true
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
		task.targets = append(task.targets, position)
		task.before = append(task.before, append([]int(nil), fill[max(0, len(fill)-o.Order-1):]...))
	}
	if len(task.targets) == 0 {
		return nil, fmt.Errorf("all %d steps are I-steps: there is nothing to predict", len(full))
	}
	return task, nil
}

// Params lists the predictor's.
func (t *PredictorTask) Params() []*tensor.Param { return t.params }

// Measures are the loss, the relative error of the estimate, and the mean importance.
func (t *PredictorTask) Measures() []string { return []string{"loss", "error", "alpha"} }

// Changed makes the predictor see its parameters' values.
func (t *PredictorTask) Changed() { t.Predictor.Repack() }

// Accumulate implements Task. The examples of a call are at one step.
func (t *PredictorTask) Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error) {
	defer g.Reset()
	size := len(t.data.X[0]) / t.data.Plan.Steps()
	if t.soft == nil || t.samples != count {
		t.samples = count
		t.soft = reuse.NewSuperposition(g, t.model, count, t.options.Cached, t.options.Order)
		t.batch = dit.Batch{X: tensor.FromSlice(make([]float32, count*size), count, size), T: make([]float32, count), Y: make([]int32, count)}
		t.target = make([]float32, count*t.model.Tokens()*t.model.Hidden)
	}
	r := draws("predictor example", t.options.Seed, uint64(first))
	which := r.IntN(len(t.targets))
	position := t.targets[which]
	images := make([]int, count)
	for i := range images {
		images[i] = r.IntN(len(t.data.X))
		t.batch.Y[i] = t.data.Labels[images[i]]
		if null := r.IntN(2) == 1; null && t.options.Guidance {
			t.batch.Y[i] = int32(t.model.NullClass())
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
		t.model.Forward(g, t.soft, &t.batch)
		g.Reset()
	}
	at(position)
	t.soft.Compute()
	t.model.Forward(g, t.soft, &t.batch)
	copy(t.target, t.soft.Last().Flat())
	g.Reset()
	x, _ := t.model.Embed(g, &t.batch)
	without := squaredError(t.soft.Forecast(x.X, position).Flat(), t.target)
	g.Reset()
	if err := g.Err(); err != nil {
		return nil, err
	}

	g.StartTape()
	alpha := t.Predictor.Forward(g, t.model, &t.batch)
	t.soft.Estimate(alpha, position)
	t.model.Forward(g, t.soft, &t.batch)
	estimate := t.soft.Last()
	if err := g.Err(); err != nil {
		return nil, err
	}
	const least = 1e-12
	norm := 1 / (without + least)
	left := squaredError(estimate.Flat(), t.target) * norm
	grad := g.New(estimate.Rows, estimate.Cols)
	weight := scale * float64(count) // the loss is of the examples together
	kernel.Scale(grad.Flat(), t.target, -1)
	kernel.Add(grad.Flat(), grad.Flat(), estimate.Flat())
	kernel.Scale(grad.Flat(), grad.Flat(), float32(2*norm*weight))
	g.AddGrad(estimate, grad)

	all := alpha.All()
	cost := g.New(all.Rows, all.Cols)
	mean := 0.0
	for i := range all.Rows {
		mean += float64(kernel.Sum(all.Row(i))) / float64(all.Rows*all.Cols)
		for j := range all.Cols {
			cost.Row(i)[j] = float32(t.options.Lambda * weight / float64(all.Rows*all.Cols))
		}
	}
	g.AddGrad(all, cost)
	g.Backward()
	n := float64(count)
	return []float64{n * (left + t.options.Lambda*mean), n * left, n * mean}, g.Err()
}

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
func (t *PredictorTask) Tensors() []Tensor {
	var list []Tensor
	for _, w := range t.Predictor.PredictorConfig.Tensors() {
		list = append(list, Tensor{Name: w.Name, Shape: w.Shape})
	}
	return list
}

// Metadata tells the predictor's size.
func (t *PredictorTask) Metadata() (map[string]string, error) {
	b, err := t.Predictor.PredictorConfig.JSON()
	return map[string]string{checkpoint.ConfigKey: string(b)}, err
}
