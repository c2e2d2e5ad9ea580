package dit

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
)

// Arch names a family of models.
type Arch string

const (
	ArchDiT   Arch = "DiT"
	ArchMDTv1 Arch = "MDTv1"
	ArchMDTv2 Arch = "MDTv2"
	ArchSiT   Arch = "SiT"
)

// Config is the size of a model.
type Config struct {
	Arch        Arch
	InputSize   int // side of the latents (or of the pixels, for a model without an autoencoder)
	PatchSize   int
	InChannels  int // of the latents
	Hidden      int // D, the width
	Depth       int // blocks
	DecodeLayer int // MDT: how many of the blocks, the last ones, are the decoder
	Heads       int
	MLPHidden   int // width of the MLP's hidden layer
	NumClasses  int // without the null class
	LearnSigma  bool
	NoNullClass bool // the label table has no null class: the model cannot be guided

	// TimestepShift is 1 in diffusers' port of DiT, which embeds timesteps at slightly other
	// frequencies than the official code, and else 0.
	TimestepShift int

	// Path and Prediction are what a SiT was trained for; of others they are "".
	Path       diffusion.Path
	Prediction diffusion.Prediction
}

// official are the sizes of DiT's table 1, which MDT's are too.
var official = map[string]struct{ depth, hidden, heads int }{
	"S":  {12, 384, 6},
	"B":  {12, 768, 12},
	"L":  {24, 1024, 16},
	"XL": {28, 1152, 16},
}

// families are the architectures with their official names, patch sizes and depths of decoder; each
// comes in every official size.
var families = []struct {
	arch    Arch
	name    string
	patches []int
	decoder int
}{
	{ArchDiT, "DiT", []int{2, 4, 8}, 0},
	{ArchMDTv1, "MDT", []int{2, 4, 8}, 2},
	{ArchMDTv2, "MDTv2", []int{2}, 4},
	{ArchSiT, "SiT", []int{2, 4, 8}, 0},
}

// Official returns one of the official configurations, DiT-S/2 to MDTv2-XL/2, for latents of the
// given side: 32 for images of 256 pixels, 64 for 512. MDT-XL/2 is of the first version.
func Official(name string, inputSize int) (Config, error) {
	for _, f := range families {
		for size, o := range official {
			for _, patch := range f.patches {
				if strings.EqualFold(name, fmt.Sprintf("%s-%s/%d", f.name, size, patch)) {
					c := Config{
						Arch: f.arch, InputSize: inputSize, PatchSize: patch, InChannels: 4, Hidden: o.hidden, Depth: o.depth,
						DecodeLayer: f.decoder, Heads: o.heads, MLPHidden: 4 * o.hidden, NumClasses: 1000, LearnSigma: true,
					}
					return c.trainedFor("", ""), nil
				}
			}
		}
	}
	return Config{}, fmt.Errorf("unknown architecture %q: want one of %s", name, strings.Join(OfficialNames(), ", "))
}

// OfficialNames lists the official configurations.
func OfficialNames() []string {
	var names []string
	for _, f := range families {
		for _, size := range []string{"S", "B", "L", "XL"} {
			for _, patch := range f.patches {
				names = append(names, fmt.Sprintf("%s-%s/%d", f.name, size, patch))
			}
		}
	}
	return names
}

// Name returns the official name of the configuration, or a description of it.
func (c Config) Name() string {
	for _, f := range families {
		if f.arch != c.Arch || f.decoder != c.DecodeLayer || c.MLPHidden != 4*c.Hidden || !slices.Contains(f.patches, c.PatchSize) {
			continue
		}
		for size, o := range official {
			if o.depth == c.Depth && o.hidden == c.Hidden && o.heads == c.Heads {
				return fmt.Sprintf("%s-%s/%d", f.name, size, c.PatchSize)
			}
		}
	}
	decoder := ""
	if c.isMDT() {
		decoder = fmt.Sprintf(", %d of them the decoder's", c.DecodeLayer)
	}
	return fmt.Sprintf("%s with %d blocks of width %d, patch %d%s", c.Arch, c.Depth, c.Hidden, c.PatchSize, decoder)
}

// HeadsOfWidth returns the number of heads that the official model of a width has.
func HeadsOfWidth(hidden int) (heads int, ok bool) {
	for _, o := range official {
		if o.hidden == hidden {
			return o.heads, true
		}
	}
	return 0, false
}

// Tokens returns N, the number of tokens of a sample.
func (c Config) Tokens() int { n := c.InputSize / c.PatchSize; return n * n }

// OutChannels returns the number of channels predicted: those of the noise, and as many for the
// variance if it is learned. A SiT has a last layer for both, but its variance is never used and no
// part of the prediction.
func (c Config) OutChannels() int {
	if c.LearnsVariance() {
		return 2 * c.InChannels
	}
	return c.InChannels
}

// LearnsVariance tells whether the prediction has values of the variance.
func (c Config) LearnsVariance() bool { return c.LearnSigma && c.Arch != ArchSiT }

// lastChannels returns the number of channels of the last layer.
func (c Config) lastChannels() int {
	if c.LearnSigma {
		return 2 * c.InChannels
	}
	return c.InChannels
}

// Network returns what a sampler must know of the model.
func (c Config) Network() diffusion.Network {
	n := diffusion.Network{Variance: diffusion.VarianceOf(c.LearnsVariance()), Tokens: c.Tokens()}
	if c.Arch == ArchSiT {
		n.Schedule, n.Prediction = c.Path.Schedule(), c.Prediction
	}
	return n
}

// NullClass returns the class that stands for no class in guidance.
func (c Config) NullClass() int { return c.NumClasses }

// maxExtent bounds every size of a configuration: far above any model, far below where products
// overflow.
const maxExtent = 1 << 20

// Validate reports sizes that no model can have.
func (c Config) Validate() error {
	var errs []error
	for name, v := range map[string]int{
		"input_size": c.InputSize, "patch_size": c.PatchSize, "in_channels": c.InChannels, "hidden_size": c.Hidden, "depth": c.Depth,
		"num_heads": c.Heads, "mlp hidden width": c.MLPHidden, "num_classes": c.NumClasses,
	} {
		if v < 1 || v > maxExtent {
			errs = append(errs, fmt.Errorf("%s is %d, want 1 to %d", name, v, maxExtent))
		}
	}
	if len(errs) > 0 {
		sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
		return errors.Join(errs...)
	}
	if c.InputSize%c.PatchSize != 0 {
		errs = append(errs, fmt.Errorf("input_size %d is not a multiple of patch_size %d", c.InputSize, c.PatchSize))
	}
	if c.Hidden%c.Heads != 0 {
		errs = append(errs, fmt.Errorf("hidden_size %d is not a multiple of num_heads %d", c.Hidden, c.Heads))
	}
	if c.Hidden%4 != 0 {
		errs = append(errs, fmt.Errorf("hidden_size %d is not a multiple of 4, as its position embedding needs", c.Hidden))
	}
	errs = append(errs, c.validateDecoder(), c.validateFlow())
	return errors.Join(errs...)
}

// Parameters returns the number of weights as the papers count: a fixed position embedding
// included, and an MDT's side-interpolater, which only training runs, left out.
func (c Config) Parameters() int64 {
	var total int64
	for _, t := range c.Tensors() {
		total += int64(elements(t.Shape))
	}
	if c.isMDT() {
		for _, t := range c.sideTensors() {
			total -= int64(elements(t.Shape))
		}
	}
	return total
}

// elements returns the number of elements of a tensor.
func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// FLOPs returns the floating-point operations of a forward pass in which each of samples samples
// computes rows rows in every block, and all of its tokens in the embedding and the last layer:
// what tensor.Graph counts. Keys are as many as rows.
func (c Config) FLOPs(samples, rows int) int64 {
	s, r, n, d := int64(samples), int64(rows), int64(c.Tokens()), int64(c.Hidden)
	patch := int64(c.PatchSize * c.PatchSize)
	linear := func(rows, in, out int64) int64 { return 2 * rows * in * out }
	block := linear(s, d, 6*d) + linear(s*r, d, 3*d) + 4*s*r*r*d + linear(s*r, d, d) + 2*linear(s*r, d, int64(c.MLPHidden))
	return int64(c.Depth)*block + c.SkipFLOPs(samples, rows) +
		linear(s*n, patch*int64(c.InChannels), d) + linear(s, 256, d) + linear(s, d, d) +
		linear(s, d, 2*d) + linear(s*n, d, patch*int64(c.lastChannels()))
}

// SkipFLOPs returns those of FLOPs that are the linear maps which join long skips.
func (c Config) SkipFLOPs(samples, rows int) int64 {
	if c.Arch != ArchMDTv2 {
		return 0
	}
	return int64(c.Depth-c.inBlocks()) * 4 * int64(samples) * int64(rows) * int64(c.Hidden) * int64(c.Hidden)
}

// ActivationBytes returns about how much memory a forward pass of samples samples takes beside the
// weights: the tokens, and what a block has at once of them at its widest.
func (c Config) ActivationBytes(samples int) int64 {
	d := int64(c.Hidden)
	widest := max(d+3*d+d, d+int64(c.MLPHidden)) // normalised, queries to values, attended; normalised, hidden layer
	if c.Arch == ArchMDTv2 {
		d += d * int64(c.inBlocks()+1) // what the long skips keep
	}
	return 4 * int64(samples) * int64(c.Tokens()) * (d + widest)
}

// positionEmbedding returns the fixed sine-cosine embedding of a grid of n x n positions, [n*n,
// width]: the first half of the columns encodes the column of the position, the second its row,
// each as sines and then cosines.
func positionEmbedding(width, n int) []float32 {
	table := make([]float32, n*n*width)
	quarter := width / 4
	for i := range n * n {
		row := table[i*width:][:width]
		for j := range quarter {
			omega := 1 / math.Pow(10000, float64(j)/float64(quarter))
			for half, p := range [2]int{i % n, i / n} {
				s, c := math.Sincos(float64(p) * omega)
				row[half*2*quarter+j], row[half*2*quarter+quarter+j] = float32(s), float32(c)
			}
		}
	}
	return table
}
