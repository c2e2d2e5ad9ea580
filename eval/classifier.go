package eval

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// Classifier is a small convolutional network that classifies the images of a data set. Sets of
// images are compared by its features, the inputs of its last layer.
//
// It has 3x3 convolutions with GELU, each followed by layer norm over the channels: one that keeps
// the size, and for each further width one that halves it and a residual one; then the mean over all
// pixels (the features) and a linear map (the logits).
type Classifier struct {
	ClassifierConfig
	Fingerprint string

	stem, head *tensor.Weight
	scales     []classifierScale
	byCaption  map[string][]int32 // the classes that a CaptionKey names
}

// classifierScale is the convolutions at a size of a Classifier: one that halves, one that keeps.
type classifierScale struct{ down, same *tensor.Weight }

// ClassifierConfig is the size of a Classifier.
type ClassifierConfig struct {
	Size     int      `json:"input_size"`  // side of the images
	Channels int      `json:"in_channels"` // of the images
	Widths   []int    `json:"widths"`      // channels at full, half, quarter size ...; the last is D
	Names    []string `json:"class_names"`
	// Captions are the texts that name each class, as CaptionKey gives them; nil if the classes were
	// not made of captions.
	Captions [][]string `json:"class_captions,omitempty"`
	Arch     string     `json:"arch"` // ClassifierArch
}

// features is D, the number of features.
func (c ClassifierConfig) features() int { return c.Widths[len(c.Widths)-1] }

// ClassifierArch names the architecture in a file's metadata.
const ClassifierArch = "Classifier"

const classifierEps = 1e-5

// checkLabels reports a label of none of the classes that the network tells apart.
func (c ClassifierConfig) checkLabels(labels []int32) error {
	for i, label := range labels {
		if int(label) >= len(c.Names) {
			return fmt.Errorf("image %d has class %d, and the classifier knows classes 0 to %d", i, label, len(c.Names)-1)
		}
	}
	return nil
}

// Tensors lists the weights, with their shapes. A convolution's columns are the nine pixels in
// reading order, all channels of a pixel together.
func (c ClassifierConfig) Tensors() []checkpoint.Want {
	w := c.Widths
	var list []checkpoint.Want
	add := func(name string, out, in int) {
		list = append(list,
			checkpoint.Want{Name: name + ".weight", Shape: []int{out, in}},
			checkpoint.Want{Name: name + ".bias", Shape: []int{out}})
	}
	add("stem", w[0], 9*c.Channels)
	for i := 1; i < len(w); i++ {
		add(fmt.Sprint("down", i), w[i], 9*w[i-1])
		add(fmt.Sprint("same", i), w[i], 9*w[i])
	}
	add("head", len(c.Names), c.features())
	return list
}

// NewClassifier reads a Classifier from src.
func NewClassifier(c ClassifierConfig, src nn.Source) (*Classifier, error) {
	return loadClassifier(c, nn.NewLoader(src))
}

// NewTrainableClassifier is NewClassifier for training; it also returns the parameters.
func NewTrainableClassifier(c ClassifierConfig, src nn.Source) (*Classifier, []*tensor.Param, error) {
	if !c.possible() {
		return nil, nil, fmt.Errorf("a classifier of %d classes, images of %d pixels a side and %d channels, widths %v: "+
			"want up to %d classes, and %d to %d widths", len(c.Names), c.Size, c.Channels, c.Widths,
			maxClassifier, MinClassifierWidths, MaxClassifierWidths)
	}
	l := nn.NewLoader(src)
	l.Train()
	n, err := loadClassifier(c, l)
	return n, l.Params(), err
}

func loadClassifier(c ClassifierConfig, l *nn.Loader) (*Classifier, error) {
	w := c.Widths
	n := &Classifier{ClassifierConfig: c, byCaption: c.byCaption()}
	n.stem = l.Linear("stem", w[0], 9*c.Channels)
	for i := 1; i < len(w); i++ {
		n.scales = append(n.scales, classifierScale{
			down: l.Linear(fmt.Sprint("down", i), w[i], 9*w[i-1]),
			same: l.Linear(fmt.Sprint("same", i), w[i], 9*w[i]),
		})
	}
	n.head = l.Linear("head", len(c.Names), c.features())
	n.Fingerprint = l.Fingerprint()
	return n, l.Err()
}

// OpenClassifier reads a Classifier from a checkpoint whose metadata has its configuration.
func OpenClassifier(f *checkpoint.File) (*Classifier, error) {
	var c ClassifierConfig
	text := f.Metadata()[checkpoint.ConfigKey]
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Arch != ClassifierArch {
		return nil, fmt.Errorf("%s: not a classifier: its metadata has no %s of arch %s",
			f.Path, checkpoint.ConfigKey, ClassifierArch)
	}
	if !c.possible() {
		return nil, fmt.Errorf("%s: impossible sizes in the metadata's %s: %.200s", f.Path, checkpoint.ConfigKey, text)
	}
	if err := checkpoint.Check(f, c.Tensors(), nil); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	n, err := NewClassifier(c, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return n, nil
}

// ReadClassifier is OpenClassifier for the file at path.
func ReadClassifier(path string) (*Classifier, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return OpenClassifier(f)
}

// maxClassifier bounds each of a Classifier's sizes.
const maxClassifier = 1 << 12

// Bounds of the number of a Classifier's Widths.
const (
	MinClassifierWidths = 2
	MaxClassifierWidths = 6
)

// possible reports whether the sizes are within the bounds of what is read from a file.
func (c ClassifierConfig) possible() bool {
	in := func(v, low, high int) bool { return v >= low && v <= high }
	for _, w := range c.Widths {
		if !in(w, 1, maxClassifier) {
			return false
		}
	}
	if !in(len(c.Widths), MinClassifierWidths, MaxClassifierWidths) ||
		c.Captions != nil && len(c.Captions) != len(c.Names) {
		return false
	}
	return in(c.Size, 4, maxClassifier) && in(c.Channels, 1, 4) && in(len(c.Names), 2, maxClassifier)
}

// JSON is the configuration as OpenClassifier reads it from a file's metadata.
func (c ClassifierConfig) JSON() ([]byte, error) {
	c.Arch = ClassifierArch
	return json.Marshal(c)
}

// Forward returns features [samples, D] and logits [samples, classes] of images in [-1,1].
func (n *Classifier) Forward(g *tensor.Graph, x tensor.Images) (features, logits *tensor.Tensor) {
	conv := func(x tensor.Images, w *tensor.Weight, s tensor.Conv3x3Geometry) tensor.Images {
		windows := g.Unfold3x3(x, s)
		return windows.With(g.LinearGELU(windows.X, w))
	}
	norm := func(x tensor.Images) tensor.Images {
		return x.With(g.LayerNormModulate(x.X, nil, nil, tensor.Uniform(x.Samples(), x.Height*x.Width), classifierEps))
	}
	x = norm(conv(x, n.stem, tensor.Conv3x3Same))
	for _, s := range n.scales {
		x = norm(conv(x, s.down, tensor.Conv3x3Halve))
		x = norm(x.With(g.Add(x.X, conv(x, s.same, tensor.Conv3x3Same).X)))
	}
	features = g.SampleMean(x.X, tensor.Uniform(x.Samples(), x.Height*x.Width))
	return features, g.Linear(features, n.head)
}

// Identity implements Network.
func (n *Classifier) Identity() string { return "classifier " + n.Fingerprint }

// Repack makes a trainable Classifier use the new values of its parameters.
func (n *Classifier) Repack() {
	n.stem.Repack()
	for _, s := range n.scales {
		s.down.Repack()
		s.same.Repack()
	}
	n.head.Repack()
}

// Input sets the rows of an image's pixels in dst, [samples*Size*Size, Channels], to a sample
// [Channels, Size, Size] in [-1,1].
func (n *Classifier) Input(dst *tensor.Tensor, sample int, x []float32) {
	pixels := n.Size * n.Size
	for i := range pixels {
		row := dst.Row(sample*pixels + i)
		for c := range row {
			row[c] = x[c*pixels+i]
		}
	}
}

// classifierBatch is the number of images of a forward pass of Predict.
const classifierBatch = 64

// Predict implements Network, for images of Size and Channels.
func (n *Classifier) Predict(ctx context.Context, g *tensor.Graph, images Images,
	onImage func(done int)) (*Predictions, error) {
	p := &Predictions{
		Statistics: Statistics{Network: n.Identity()},
		Features:   make([]float32, 0, images.Count*n.features()),
		Classes:    make([]int32, 0, images.Count),
	}
	pixels := n.Size * n.Size
	g.SetContext(ctx)
	defer g.SetContext(context.Background())
	for done := 0; done < images.Count; {
		b := min(classifierBatch, images.Count-done)
		g.Reset()
		x := tensor.Images{X: g.New(b*pixels, n.Channels), Height: n.Size, Width: n.Size}
		for i := range b {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := n.read(x.X, i, images, done+i); err != nil {
				return nil, err
			}
		}
		features, logits := n.Forward(g, x)
		if err := g.Err(); err != nil {
			return nil, err
		}
		p.Features = append(p.Features, features.Flat()...)
		for i := range b {
			p.Classes = append(p.Classes, int32(argmax(logits.Row(i))))
		}
		done += b
		if onImage != nil {
			onImage(done)
		}
	}
	g.Reset()
	m := NewMoments(n.features())
	if err := m.Add(p.Features); err != nil {
		return nil, err
	}
	p.pool = m
	p.sum()
	return p, nil
}

// read sets the rows of sample i of dst, as Input, to an image in [-1,1].
func (n *Classifier) read(dst *tensor.Tensor, i int, images Images, index int) error {
	m, err := images.read(index)
	if err != nil {
		return err
	}
	if m.Height != n.Size || m.Width != n.Size || m.Channels != n.Channels {
		return fmt.Errorf("image %d: %d x %d pixels and %d channels, "+
			"want %d x %d and %d as the classifier was trained with", index, m.Height, m.Width, m.Channels, n.Size, n.Size, n.Channels)
	}
	rows := dst.Data[i*len(m.Pix):][:len(m.Pix)]
	for k, v := range m.Pix {
		rows[k] = float32(v)/127.5 - 1
	}
	return nil
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// Accuracy returns the share of images that the classifier assigns to their class. An image without
// a label, -1, counts as one that it does not.
func (n *Classifier) Accuracy(ctx context.Context, images Images, threads int) (float64, error) {
	pool := tensor.NewPool(threads)
	defer pool.Close()
	p, err := n.Predict(ctx, tensor.NewGraph(pool), images, nil)
	if err != nil {
		return 0, err
	}
	right := 0.0
	for _, v := range p.Agreement(images.Labels) {
		right += v
	}
	return right / float64(images.Count), nil
}
