package train

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/tensor"
)

// ClassifierOptions says how a ClassifierTask draws its examples.
type ClassifierOptions struct {
	Seed      uint64  `json:"seed"`
	Shift     int     `json:"shift"` // most pixels that a picture is moved by, each way
	Flip      bool    `json:"flip"`  // mirror every other picture
	Smoothing float64 `json:"label_smoothing"`
}

// ClassifierTask is the training of an eval.Classifier, by cross entropy.
type ClassifierTask struct {
	Net *eval.Classifier

	params  []*tensor.Param
	options ClassifierOptions
	data    Examples
	labels  []int32
	order   *data.Order
}

// NewClassifierTask returns the training of a new classifier of configuration c on pictures with labels.
func NewClassifierTask(c eval.ClassifierConfig, pictures Examples, labels []int32, o ClassifierOptions) (*ClassifierTask, error) {
	if pictures.Len() == 0 {
		return nil, errors.New("the data set has no pictures")
	}
	for i, y := range labels {
		if y < 0 || int(y) >= len(c.Names) {
			return nil, fmt.Errorf("picture %d has class %d: want 0..%d", i, y, len(c.Names)-1)
		}
	}
	net, params, err := eval.NewTrainableClassifier(c, freshClassifier{c, o.Seed})
	if err != nil {
		return nil, err
	}
	return &ClassifierTask{Net: net, params: params, options: o, data: pictures, labels: labels, order: data.NewOrder(pictures.Len(), o.Seed)}, nil
}

// freshClassifier is the source of new weights: normal, of the variance that keeps activations' size under GELU, and zero biases.
type freshClassifier struct {
	eval.ClassifierConfig
	seed uint64
}

func (f freshClassifier) Read(name string, dst []float32) error {
	if strings.HasSuffix(name, ".bias") {
		clear(dst)
		return nil
	}
	for _, w := range f.Tensors() {
		if w.Name == name {
			r, deviation := draws("weights "+name, f.seed), math.Sqrt(2/float64(w.Shape[1]))
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

// Measures are the loss and the share of examples whose likeliest class is theirs.
func (t *ClassifierTask) Measures() []string { return []string{"loss", "accuracy"} }

// Changed makes the network see its parameters' values.
func (t *ClassifierTask) Changed() { t.Net.Repack() }

// Accumulate implements Task.
func (t *ClassifierTask) Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error) {
	defer g.Reset()
	n := t.Net
	pixels := n.Size * n.Size
	x := tensor.Images{X: g.New(count*pixels, n.Channels), Height: n.Size, Width: n.Size}
	index := make([]int, count)
	errs := make([]error, count)
	var wait sync.WaitGroup
	for i := range count {
		wait.Go(func() {
			sample := make([]float32, n.Channels*pixels)
			if index[i], errs[i] = t.order.Read(first+int64(i), t.data, sample); errs[i] == nil {
				n.Input(x.X, i, t.augment(sample, uint64(first)+uint64(i)))
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
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

// augment moves and mirrors the picture of example k at random; what comes in from beyond its edges is black.
func (t *ClassifierTask) augment(x []float32, k uint64) []float32 {
	r, size, most := draws("classifier example", t.options.Seed, k), t.Net.Size, t.options.Shift
	if flip := r.IntN(2) == 1; flip && t.options.Flip {
		data.FlipHorizontal(x, t.Net.Channels, size)
	}
	down, right := r.IntN(2*most+1)-most, r.IntN(2*most+1)-most
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

// crossEntropy returns the loss of logits where class y is right, in nats, and sets grad to scale times its gradient. With smoothing the target
// gives that share of probability to all classes alike (Szegedy et al. 2016, arXiv 1512.00567, section 7).
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
func (t *ClassifierTask) Tensors() []Tensor {
	var list []Tensor
	for _, w := range t.Net.ClassifierConfig.Tensors() {
		list = append(list, Tensor{Name: w.Name, Shape: w.Shape})
	}
	return list
}

// Metadata tells the network's size and its classes' names.
func (t *ClassifierTask) Metadata() (map[string]string, error) {
	b, err := t.Net.ClassifierConfig.JSON()
	return map[string]string{checkpoint.ConfigKey: string(b)}, err
}
