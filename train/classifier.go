package train

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/tensor"
)

// ClassifierOptions says how a ClassifierTask makes its examples.
type ClassifierOptions struct {
	Seed      uint64  `json:"seed"`
	Shift     int     `json:"shift"` // maximum random shift in pixels, each way
	Flip      bool    `json:"flip"`  // mirror an image with probability 1/2
	Smoothing float64 `json:"label_smoothing"`

	Distort *Distortion `json:"distort,omitempty"` // also change images like this; nil: shift them over black
}

// ClassifierTask is the training of an eval.Classifier, by cross entropy.
type ClassifierTask struct {
	Net *eval.Classifier

	params  []*tensor.Param
	options ClassifierOptions
	data    Examples
	labels  []int32
	mirror  []bool
	order   *data.Order
}

// NewClassifierTask returns the training of a new classifier of configuration c on images with
// labels. Mirror says which of them show their class mirrored, too; nil means all.
func NewClassifierTask(c eval.ClassifierConfig, images Examples, labels []int32, mirror []bool,
	o ClassifierOptions) (*ClassifierTask, error) {
	switch {
	case images.Len() == 0:
		return nil, errors.New("the data set has no images")
	case len(labels) != images.Len() || mirror != nil && len(mirror) != images.Len():
		return nil, fmt.Errorf("%d labels and %d settings of mirroring for %d images", len(labels), len(mirror), images.Len())
	}
	for i, y := range labels {
		if y < 0 || int(y) >= len(c.Names) {
			return nil, fmt.Errorf("image %d has class %d: want 0..%d", i, y, len(c.Names)-1)
		}
	}
	net, params, err := eval.NewTrainableClassifier(c, initClassifier{c, o.Seed})
	if err != nil {
		return nil, err
	}
	return &ClassifierTask{
		Net:     net,
		params:  params,
		options: o,
		data:    images,
		labels:  labels,
		mirror:  mirror,
		order:   data.NewOrder(images.Len(), o.Seed),
	}, nil
}

// initClassifier is the source of initial weights: He initialisation (normal, variance 2/inputs)
// and zero biases.
type initClassifier struct {
	eval.ClassifierConfig
	seed uint64
}

func (f initClassifier) Read(name string, dst []float32) error {
	if strings.HasSuffix(name, ".bias") {
		clear(dst)
		return nil
	}
	for _, w := range f.Tensors() {
		if w.Name == name {
			r, deviation := newRand("weights "+name, f.seed), math.Sqrt(2/float64(w.Shape[1]))
			for i := range dst {
				dst[i] = float32(deviation * r.NormFloat64())
			}
			return nil
		}
	}
	return fmt.Errorf("a new classifier has no tensor %s", name)
}

// Params lists all parameters.
func (t *ClassifierTask) Params() []*tensor.Param { return t.params }

// Measures are the loss and the accuracy.
func (t *ClassifierTask) Measures() []string { return []string{"loss", "accuracy"} }

// Changed implements Task: it repacks the weights.
func (t *ClassifierTask) Changed() { t.Net.Repack() }

// Accumulate implements Task.
func (t *ClassifierTask) Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error) {
	defer g.Reset()
	n := t.Net
	pixels := n.Size * n.Size
	x := tensor.Images{X: g.New(count*pixels, n.Channels), Height: n.Size, Width: n.Size}
	index := make([]int, count)
	err := parallel(count, func(i int) (err error) {
		sample := make([]float32, n.Channels*pixels)
		if index[i], err = t.order.Read(first+int64(i), t.data, sample); err != nil {
			return err
		}
		n.Input(x.X, i, t.augment(sample, index[i], uint64(first)+uint64(i)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.StartTape()
	_, logits := n.Forward(g, x)
	if err := g.Err(); err != nil {
		return nil, err
	}
	grad := g.New(logits.Rows, logits.Cols)
	sums := make([]float64, 2)
	for i := range count {
		y := int(t.labels[index[i]])
		loss, right := crossEntropy(grad.Row(i), logits.Row(i), y, t.options.Smoothing, scale)
		sums[0] += loss
		if right {
			sums[1]++
		}
	}
	g.AddGrad(logits, grad)
	g.Backward()
	return sums, g.Err()
}

// augment changes image i, that of example k, at random: it is mirrored and distorted or, without a
// Distortion, mirrored and shifted, padded with black.
func (t *ClassifierTask) augment(x []float32, i int, k uint64) []float32 {
	r, size, shift := newRand("classifier example", t.options.Seed, k), t.Net.Size, t.options.Shift
	if flip := r.IntN(2) == 1; flip && t.options.Flip && (t.mirror == nil || t.mirror[i]) {
		data.FlipHorizontal(x, t.Net.Channels, size)
	}
	if d := t.options.Distort; d != nil {
		return d.distort(x, t.Net.Channels, size, shift, r)
	}
	down, right := r.IntN(2*shift+1)-shift, r.IntN(2*shift+1)-shift
	moved := make([]float32, len(x))
	for i := range moved {
		c, row, col := i/(size*size), i/size%size-down, i%size-right
		moved[i] = -1
		if row >= 0 && row < size && col >= 0 && col < size {
			moved[i] = x[(c*size+row)*size+col]
		}
	}
	return moved
}

// crossEntropy returns the loss of logits for class y, in nats, and whether y has the largest
// logit, and sets grad to scale times the gradient. Label smoothing spreads that share of the
// target's probability evenly over all classes (Szegedy et al. 2016, arXiv 1512.00567, section 7).
func crossEntropy(grad, logits []float32, y int, smoothing, scale float64) (loss float64, right bool) {
	best, largest := 0, math.Inf(-1)
	for i, v := range logits {
		if float64(v) > largest {
			best, largest = i, float64(v)
		}
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - largest)
	}
	uniform := smoothing / float64(len(logits))
	for i, v := range logits {
		logP := float64(v) - largest - math.Log(sum)
		target := uniform
		if i == y {
			target += 1 - smoothing
		}
		loss -= target * logP
		grad[i] = float32(scale * (math.Exp(logP) - target))
	}
	return loss, best == y
}

// Tensors lists the network's tensors.
func (t *ClassifierTask) Tensors() []ModelTensor {
	var list []ModelTensor
	for _, w := range t.Net.ClassifierConfig.Tensors() {
		list = append(list, ModelTensor{Name: w.Name, Shape: w.Shape})
	}
	return list
}

// Metadata returns the network's configuration and its classes' names.
func (t *ClassifierTask) Metadata() (map[string]string, error) {
	b, err := t.Net.ClassifierConfig.JSON()
	return map[string]string{checkpoint.ConfigKey: string(b)}, err
}
