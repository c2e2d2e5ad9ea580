package train

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// maxLogit is the bound of the routers' logits, as in the method's code.
const maxLogit = 5

// RouterOptions says how routers are trained.
type RouterOptions struct {
	L1        float64 // weight of the cost, the sum of all w
	Threshold float64 // if above 0, w is 1 above it, else 0; the gradient passes straight through
}

// Routers is the training of Learning-to-Cache's routers ("Learning-to-Cache: Accelerating
// Diffusion Transformer via Layer Caching", arXiv 2406.01733) with the model frozen. After a full
// step, each branch outputs w·current + (1-w)·cached, where w is the sigmoid of the step's logit
// for that branch:
//
//	loss = mean |student - teacher|² + L1 * sum of w
//
// over all predicted values; the teacher is the model itself. Each router has its own AdamW,
// without decay, so that an update moves only the router of its step.
type Routers struct {
	Logits  [][]float32 // [steps][2*blocks]; the last step of sampling first
	Grads   [][]float32 // [steps][2*blocks]: set by Gradients for its step
	Options RouterOptions

	model   seam.Model // frozen
	adam    []*AdamW
	mix     *reuse.RouterMixing
	samples int
	teacher []float32
}

// NewRouters returns the training of a router for each of steps steps of a frozen model, from
// logits of 0.
func NewRouters(m seam.Model, steps int, o RouterOptions) *Routers {
	r := &Routers{Options: o, model: m}
	for i := range steps {
		p := &tensor.Param{
			Name:  fmt.Sprintf("routers.%d.prob", i),
			Value: make([]float32, 2*m.Shape().Blocks),
			Grad:  make([]float32, 2*m.Shape().Blocks),
		}
		r.Logits, r.Grads = append(r.Logits, p.Value), append(r.Grads, p.Grad)
		r.adam = append(r.adam, NewAdamW([]*tensor.Param{p}, 0))
	}
	return r
}

// RouterLoss is the loss of a batch.
type RouterLoss struct {
	MSE   []float64 // of each sample
	Cost  float64   // sum of all w before the threshold
	Total float64
}

// Fill runs the model on a batch at the full step before, which fills the cache, and returns the
// prediction, in g's memory.
func (r *Routers) Fill(g *tensor.Graph, b *seam.Batch) *tensor.Tensor {
	if r.mix == nil || r.samples != b.X.Rows {
		r.samples = b.X.Rows
		r.mix = reuse.NewRouterMixing(g, r.model.Shape(), r.samples)
	}
	r.mix.Fill()
	return seam.Forward(g, r.model, r.mix, b)
}

// Gradients returns the loss at a step for the images of Fill's batch, at this step, and sets the
// step's Grads. It resets g.
func (r *Routers) Gradients(g *tensor.Graph, step int, b *seam.Batch) (RouterLoss, error) {
	if b.X.Rows != r.samples {
		return RouterLoss{}, fmt.Errorf("batch of %d samples, want the %d of Fill", b.X.Rows, r.samples)
	}
	defer g.Reset()
	g.Reset()
	r.mix.Compute()
	r.teacher = append(r.teacher[:0], seam.Forward(g, r.model, r.mix, b).Flat()...)
	g.Reset()

	logits := r.Logits[step]
	w, soft := make([]float32, len(logits)), make([]float64, len(logits))
	var loss RouterLoss
	for i, logit := range logits {
		soft[i] = 1 / (1 + math.Exp(-float64(logit)))
		loss.Cost += soft[i]
		w[i] = float32(soft[i])
		if r.Options.Threshold > 0 {
			w[i] = 0
			if soft[i] > r.Options.Threshold {
				w[i] = 1
			}
		}
	}
	g.StartTape()
	r.mix.Mix(w)
	student := seam.Forward(g, r.model, r.mix, b)
	if err := g.Err(); err != nil {
		return loss, err
	}
	per := student.Cols
	scale := 1 / float64(per*r.samples)
	grad := g.New(student.Rows, per)
	for s := range r.samples {
		teacher := r.teacher[s*per : (s+1)*per]
		loss.MSE = append(loss.MSE, squaredError(student.Row(s), teacher)/float64(per))
		loss.Total += loss.MSE[s] / float64(r.samples)
		kernel.Sub(grad.Row(s), student.Row(s), teacher)
		kernel.Scale(grad.Row(s), grad.Row(s), float32(2*scale))
	}
	loss.Total += r.Options.L1 * loss.Cost
	g.AddGrad(student, grad)
	g.Backward()
	dw := make([]float64, len(logits))
	r.mix.Gradients(dw)
	for i, s := range soft {
		r.Grads[step][i] = float32((dw[i] + r.Options.L1) * s * (1 - s))
	}
	return loss, g.Err()
}

// Update takes an optimiser step with the Grads of the router of a step.
func (r *Routers) Update(step int, lr float64) {
	r.adam[step].Update(lr)
	for i, v := range r.Logits[step] {
		r.Logits[step][i] = min(max(v, -maxLogit), maxLogit)
	}
}

// The names of the tensors that Save writes, [steps, 2*blocks] except the last.
const (
	routerLogits  = "logits"
	routerFirst   = "first_moments"
	routerSecond  = "second_moments"
	routerUpdates = "updates" // [steps]
)

// routersOf and routersMade are the keys of Save's metadata.
const routersOf, routersMade = "of", "made"

// Save writes the state of the training to a safetensors file: of identifies the training, and made
// is the number of updates.
func (r *Routers) Save(path, of string, made int) error {
	steps, branches := len(r.Logits), len(r.Logits[0])
	c := checkpoint.Content{Metadata: map[string]string{routersOf: of, routersMade: strconv.Itoa(made)}}
	for _, name := range []string{routerLogits, routerFirst, routerSecond} {
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: name, DType: checkpoint.F32, Shape: []int{steps, branches}})
	}
	c.Tensors = append(c.Tensors, checkpoint.Info{Name: routerUpdates, DType: checkpoint.F32, Shape: []int{steps}})
	c.Read = func(name string, dst []float32) error {
		for i, row := range r.state(name) {
			copy(dst[i*len(row):], row)
		}
		if name == routerUpdates {
			for i, a := range r.adam {
				dst[i] = float32(a.Step)
			}
		}
		return nil
	}
	return checkpoint.WriteSafetensors(path, c)
}

// state returns the rows of one of Save's tensors, or nil.
func (r *Routers) state(name string) [][]float32 {
	var rows [][]float32
	for i, a := range r.adam {
		switch name {
		case routerLogits:
			rows = append(rows, r.Logits[i])
		case routerFirst:
			rows = append(rows, a.m[0])
		case routerSecond:
			rows = append(rows, a.v[0])
		}
	}
	return rows
}

// Resume restores the state that Save wrote and returns its number of updates: 0, and nothing is
// restored, if there is no file or it is of another training.
func (r *Routers) Resume(path, of string) (made int, err error) {
	f, err := checkpoint.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if f.Metadata()[routersOf] != of {
		return 0, nil
	}
	if made, err = strconv.Atoi(f.Metadata()[routersMade]); err != nil || made < 0 {
		return 0, fmt.Errorf("%s: got %q, want a number of updates", path, f.Metadata()[routersMade])
	}
	for _, name := range []string{routerLogits, routerFirst, routerSecond} {
		rows := r.state(name)
		x := make([]float32, len(rows)*len(rows[0]))
		if err := f.Read(name, x); err != nil {
			return 0, err
		}
		for i, row := range rows {
			copy(row, x[i*len(row):])
		}
	}
	updates := make([]float32, len(r.adam))
	if err := f.Read(routerUpdates, updates); err != nil {
		return 0, err
	}
	for i, a := range r.adam {
		a.Step = int(updates[i])
	}
	return made, nil
}
