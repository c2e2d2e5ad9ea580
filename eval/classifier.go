package eval

import (
	"encoding/json"
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// Classifier is a small convolutional network that tells the classes of a data set apart. What it sees in a picture before it decides, its
// features, is what distributions of pictures are compared by.
//
// Five 3x3 convolutions with GELU, each followed by layer norm over the channels: the first keeps the size, the second and fourth halve it, the third and fifth add to
// what they are given; then the mean over all pixels (the features) and a linear map (the logits).
type Classifier struct {
	ClassifierConfig
	Fingerprint string

	stem, down1, same1, down2, same2, head *tensor.Weight
}

// ClassifierConfig is the size of a Classifier.
type ClassifierConfig struct {
	Size     int      `json:"input_size"`  // side of the pictures
	Channels int      `json:"in_channels"` // of the pictures
	Widths   [3]int   `json:"widths"`      // channels at full, half and quarter size; the last is the number of features
	Names    []string `json:"class_names"`
	Arch     string   `json:"arch"` // ClassifierArch
}

// ClassifierArch names the architecture in a file's metadata.
const ClassifierArch = "Classifier"

const classifierEps = 1e-5

// Tensors lists the weights, with their shapes. A convolution's columns are the nine pixels in reading order, all channels of a pixel together.
func (c ClassifierConfig) Tensors() []checkpoint.Want {
	w := c.Widths
	var list []checkpoint.Want
	for _, l := range []struct {
		name    string
		out, in int
	}{{"stem", w[0], 9 * c.Channels}, {"down1", w[1], 9 * w[0]}, {"same1", w[1], 9 * w[1]}, {"down2", w[2], 9 * w[1]}, {"same2", w[2], 9 * w[2]}, {"head", len(c.Names), w[2]}} {
		list = append(list, checkpoint.Want{Name: l.name + ".weight", Shape: []int{l.out, l.in}}, checkpoint.Want{Name: l.name + ".bias", Shape: []int{l.out}})
	}
	return list
}

// NewClassifier reads a Classifier from src.
func NewClassifier(c ClassifierConfig, src nn.Source) (*Classifier, error) {
	return loadClassifier(c, nn.NewLoader(src))
}

// NewTrainableClassifier is NewClassifier for training; it also returns the parameters.
func NewTrainableClassifier(c ClassifierConfig, src nn.Source) (*Classifier, []*tensor.Param, error) {
	l := nn.NewLoader(src)
	l.Train()
	n, err := loadClassifier(c, l)
	return n, l.Params(), err
}

func loadClassifier(c ClassifierConfig, l *nn.Loader) (*Classifier, error) {
	w := c.Widths
	n := &Classifier{
		ClassifierConfig: c,
		stem:             l.Linear("stem", w[0], 9*c.Channels),
		down1:            l.Linear("down1", w[1], 9*w[0]),
		same1:            l.Linear("same1", w[1], 9*w[1]),
		down2:            l.Linear("down2", w[2], 9*w[1]),
		same2:            l.Linear("same2", w[2], 9*w[2]),
		head:             l.Linear("head", len(c.Names), w[2]),
	}
	n.Fingerprint = l.Fingerprint()
	return n, l.Err()
}

// OpenClassifier reads a Classifier from a checkpoint whose metadata tells its size.
func OpenClassifier(f *checkpoint.File) (*Classifier, error) {
	var c ClassifierConfig
	text := f.Metadata()[checkpoint.ConfigKey]
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Arch != ClassifierArch {
		return nil, fmt.Errorf("%s: not a classifier: its metadata has no %s of arch %s, as train classifier writes it", f.Path, checkpoint.ConfigKey, ClassifierArch)
	}
	const most = 1 << 12
	if c.Size < 4 || c.Size > most || c.Channels < 1 || c.Channels > 4 || len(c.Names) < 2 || len(c.Names) > most || min(c.Widths[0], c.Widths[1], c.Widths[2]) < 1 || max(c.Widths[0], c.Widths[1], c.Widths[2]) > most {
		return nil, fmt.Errorf("%s: impossible sizes in the metadata's %s: %s", f.Path, checkpoint.ConfigKey, text)
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

// JSON is the configuration as OpenClassifier reads it from a file's metadata.
func (c ClassifierConfig) JSON() ([]byte, error) {
	c.Arch = ClassifierArch
	return json.Marshal(c)
}

// Forward returns features [samples, Widths[2]] and logits [samples, classes] of pictures in [-1,1].
func (n *Classifier) Forward(g *tensor.Graph, x tensor.Images) (features, logits *tensor.Tensor) {
	conv := func(x tensor.Images, w *tensor.Weight, s tensor.Conv3x3Geometry) tensor.Images {
		windows := g.Unfold3x3(x, s)
		return windows.With(g.LinearGELU(windows.X, w))
	}
	norm := func(x tensor.Images) tensor.Images {
		return x.With(g.LayerNormModulate(x.X, nil, nil, tensor.Uniform(x.Samples(), x.Height*x.Width), classifierEps))
	}
	x = norm(conv(x, n.stem, tensor.Conv3x3Same))
	x = norm(conv(x, n.down1, tensor.Conv3x3Halve))
	x = norm(x.With(g.Add(x.X, conv(x, n.same1, tensor.Conv3x3Same).X)))
	x = norm(conv(x, n.down2, tensor.Conv3x3Halve))
	x = norm(x.With(g.Add(x.X, conv(x, n.same2, tensor.Conv3x3Same).X)))
	features = g.SampleMean(x.X, tensor.Uniform(x.Samples(), x.Height*x.Width))
	return features, g.Linear(features, n.head)
}

// Identity tells the network from others: features of equal identities can be compared.
func (n *Classifier) Identity() string { return "classifier " + n.Fingerprint }

// Repack makes a trainable Classifier see its parameters' values after they changed.
func (n *Classifier) Repack() {
	for _, w := range []*tensor.Weight{n.stem, n.down1, n.same1, n.down2, n.same2, n.head} {
		w.Repack()
	}
}

// Input sets the rows of an image's pixels in dst, [samples*Size*Size, Channels], to a sample [Channels, Size, Size] in [-1,1].
func (n *Classifier) Input(dst *tensor.Tensor, sample int, x []float32) {
	pixels := n.Size * n.Size
	for i := range pixels {
		row := dst.Row(sample*pixels + i)
		for c := range row {
			row[c] = x[c*pixels+i]
		}
	}
}

// Judged is what a Classifier makes of pictures.
type Judged struct {
	Features *tensor.Tensor // [pictures, Widths[2]]
	Classes  []int32        // the likeliest class of each
	Logits   *tensor.Tensor // [pictures, classes]
}

// Judge classifies n pictures that read gives, [Channels, Size, Size] in [-1,1] each. progress, which may be nil, is told how many are done.
func (n *Classifier) Judge(g *tensor.Graph, count int, read func(i int, dst []float32) error, progress func(done int)) (*Judged, error) {
	const batch = 64
	j := &Judged{
		Features: tensor.FromSlice(make([]float32, count*n.Widths[2]), count, n.Widths[2]),
		Logits:   tensor.FromSlice(make([]float32, count*len(n.Names)), count, len(n.Names)),
		Classes:  make([]int32, count),
	}
	pixels := n.Size * n.Size
	sample := make([]float32, n.Channels*pixels)
	for done := 0; done < count; done += batch {
		b := min(batch, count-done)
		g.Reset()
		x := tensor.Images{X: g.New(b*pixels, n.Channels), Height: n.Size, Width: n.Size}
		for i := range b {
			if err := read(done+i, sample); err != nil {
				return nil, err
			}
			n.Input(x.X, i, sample)
		}
		features, logits := n.Forward(g, x)
		if err := g.Err(); err != nil {
			return nil, err
		}
		for i := range b {
			copy(j.Features.Row(done+i), features.Row(i))
			copy(j.Logits.Row(done+i), logits.Row(i))
			j.Classes[done+i] = int32(argmax(logits.Row(i)))
		}
		if progress != nil {
			progress(done + b)
		}
	}
	g.Reset()
	return j, nil
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
