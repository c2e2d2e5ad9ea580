package train

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Examples are images to train on, such as a data.Set.
type Examples interface {
	Len() int
	Read(i int, dst []float32) error // [C*S*S] in [-1,1]; called from several goroutines at once
}

// DenoiserOptions says how a Denoiser makes its examples.
type DenoiserOptions struct {
	Seed    uint64  `json:"seed"`
	Dropout float64 `json:"label_dropout"`         // probability of the null class, for guidance
	Flip    bool    `json:"flip"`                  // mirror an image with probability 1/2
	MinSNR  float64 `json:"min_snr"`               // see Objective
	Weight  string  `json:"loss_weight,omitempty"` // see Flow

	Mask *MaskOptions `json:"mask,omitempty"` // required for an MDT, nil for a DiT
}

// Denoiser is the training of a DiT, of an MDT, or of a SiT as the flow that it is.
type Denoiser struct {
	Model     *dit.Model
	objective target

	params  []*tensor.Param
	options DenoiserOptions
	data    Examples
	labels  []int32
	order   *data.Order
	names   []string

	batch   seam.Batch
	samples []Example
	masked  maskedPass // of an MDT
}

// NewDenoiser returns the training of m and its params, as dit.NewTrainable returns them, on images
// with labels; names are the classes' names.
func NewDenoiser(m *dit.Model, params []*tensor.Param, images Examples, labels []int32, names []string,
	o DenoiserOptions) (*Denoiser, error) {
	if images.Len() == 0 {
		return nil, errors.New("the data set has no images")
	}
	if o.Dropout < 0 || o.Dropout > 1 {
		return nil, fmt.Errorf("label dropout of %g: want 0 to 1", o.Dropout)
	}
	if err := o.Mask.check(m.Config); err != nil {
		return nil, err
	}
	if err := dit.CheckNames(names, m.NumClasses); err != nil {
		return nil, err
	}
	for i, y := range labels {
		if y < 0 || int(y) >= m.NumClasses {
			return nil, fmt.Errorf("image %d has class %d: the model has classes 0..%d", i, y, m.NumClasses-1)
		}
	}
	objective, err := o.objective(m.Config)
	if err != nil {
		return nil, err
	}
	return &Denoiser{
		Model:     m,
		objective: objective,
		params:    params,
		options:   o,
		data:      images,
		labels:    labels,
		names:     names,
		order:     data.NewOrder(images.Len(), o.Seed),
	}, nil
}

// objective returns what a model is trained to minimise.
func (o DenoiserOptions) objective(c dit.Config) (target, error) {
	if c.Arch == dit.ArchSiT {
		if err := o.checkFlow(); err != nil {
			return nil, err
		}
		return NewFlow(c, o.Weight)
	}
	if o.Weight != WeightNone {
		return nil, fmt.Errorf("loss weight %q: only a flow has one, a %s has none", o.Weight, c.Arch)
	}
	return NewObjective(c.LearnSigma, o.MinSNR)
}

// Params lists everything but the fixed position embedding.
func (d *Denoiser) Params() []*tensor.Param { return d.params }

// Measures are the loss, the noise's mean squared error and, if the variance is learned, the
// variational bound. For an MDT these are of the full pass, and the loss of the masked pass
// follows; the objective is the sum of the two losses.
func (d *Denoiser) Measures() []string {
	list := []string{"loss", "mse"}
	if d.Model.LearnsVariance() {
		list = append(list, "vb")
	}
	if d.options.Mask != nil {
		list = append(list, "masked")
	}
	return list
}

// Changed implements Task: it repacks the weights.
func (d *Denoiser) Changed() { d.Model.Repack() }

// BlockWeights implements BlockTask.
func (d *Denoiser) BlockWeights() []*tensor.Weight { return d.Model.BlockWeights() }

// Accumulate implements Task.
func (d *Denoiser) Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error) {
	c := d.Model.Config
	size := c.InChannels * c.InputSize * c.InputSize
	d.allocate(count, size)
	if err := d.prepare(first, count); err != nil {
		return nil, err
	}
	losses, err := Gradients(g, d.Model, d.objective, &d.batch, d.samples, scale)
	if err != nil {
		return nil, err
	}
	sums := []float64{0, 0, 0}
	for _, l := range losses {
		sums[0], sums[1], sums[2] = sums[0]+l.Total, sums[1]+l.MSE, sums[2]+l.VB
	}
	if !d.Model.LearnsVariance() {
		sums = sums[:2]
	}
	if d.options.Mask == nil {
		return sums, nil
	}
	masked, err := d.accumulateMasked(g, scale)
	return append(sums, masked), err
}

// Gradients returns the losses of the examples of batch b, and adds scale times their gradients to
// those of m's parameters.
func Gradients(
	g *tensor.Graph,
	m *dit.Model,
	o target,
	b *seam.Batch,
	samples []Example,
	scale float64,
) ([]Loss, error) {
	return passGradients(g, o, samples, scale, func() *tensor.Tensor { return m.Forward(g, seam.Always, b) })
}

// passGradients is Gradients for the predictions that forward makes.
func passGradients(g *tensor.Graph, o target, samples []Example, scale float64,
	forward func() *tensor.Tensor) ([]Loss, error) {
	defer g.Reset()
	g.StartTape()
	out := forward()
	if err := g.Err(); err != nil {
		return nil, err
	}
	grad := g.New(out.Rows, out.Cols)
	losses := make([]Loss, len(samples))
	err := parallel(len(samples), func(i int) error {
		losses[i] = o.Loss(grad.Row(i), out.Row(i), &samples[i], scale)
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.AddGrad(out, grad)
	g.Backward()
	return losses, g.Err()
}

func (d *Denoiser) allocate(count, size int) {
	if d.batch.X != nil && d.batch.X.Rows == count {
		return
	}
	d.batch, d.samples = newExamples(count, size)
	if d.options.Mask != nil {
		d.masked.batch, d.masked.samples = newExamples(count, size)
		d.masked.kept = make([][]int32, count)
	}
}

// newExamples returns a batch of count images of size elements, and its examples.
func newExamples(count, size int) (seam.Batch, []Example) {
	b := seam.Batch{
		X:    tensor.FromSlice(make([]float32, count*size), count, size),
		T:    make([]float32, count),
		Cond: make([]seam.Condition, count),
	}
	samples := make([]Example, count)
	for i := range samples {
		samples[i] = Example{X: b.X.Row(i), XStart: make([]float32, size), Noise: make([]float32, size)}
	}
	return b, samples
}

// prepare fills the batch with examples first to first+count-1.
func (d *Denoiser) prepare(first int64, count int) error {
	return parallel(count, func(i int) error { return d.example(i, first+int64(i)) })
}

// example prepares entry i of the batch: element n of the order.
func (d *Denoiser) example(i int, n int64) error {
	s, c := &d.samples[i], d.Model.Config
	index, err := d.order.Read(n, d.data, s.XStart)
	if err != nil {
		return err
	}
	k := uint64(n)
	r := newRand("training example", d.options.Seed, k)
	d.batch.T[i], d.batch.Cond[i] = d.objective.draw(r, s), dit.Class(c.NullClass())
	if r.Float64() >= d.options.Dropout {
		d.batch.Cond[i] = dit.Class(d.labels[index])
	}
	if flip := r.IntN(2) == 1; flip && d.options.Flip {
		data.FlipHorizontal(s.XStart, c.InChannels, c.InputSize)
	}
	diffusion.NewStream(r.Uint64(), k).Normal(s.Noise)
	d.objective.Corrupt(s)
	if d.options.Mask != nil {
		d.maskedExample(i, index, k)
	}
	return nil
}

// Tensors lists the model's tensors.
func (d *Denoiser) Tensors() []ModelTensor {
	var list []ModelTensor
	for _, w := range d.Model.Config.Tensors() {
		t := ModelTensor{Name: w.Name, Shape: w.Shape}
		if w.Optional {
			t.Values = d.Model.PositionEmbedding()
		}
		list = append(list, t)
	}
	return list
}

// Metadata returns the model's configuration and its classes' names.
func (d *Denoiser) Metadata() (map[string]string, error) {
	b, err := d.Model.Config.JSON(d.names)
	return map[string]string{checkpoint.ConfigKey: string(b)}, err
}
