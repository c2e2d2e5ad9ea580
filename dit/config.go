package dit

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
)

// Arch names a family of models.
type Arch string

const (
	ArchDiT   Arch = "DiT"
	ArchMDTv1 Arch = "MDTv1"
	ArchMDTv2 Arch = "MDTv2"
)

// Config is the size of a model.
type Config struct {
	Arch       Arch
	InputSize  int // side of the latents (or of the pixels, for a model without an autoencoder)
	PatchSize  int
	InChannels int // of the latents
	Hidden     int // D, the width
	Depth      int // blocks
	Heads      int
	MLPHidden  int // width of the MLP's hidden layer
	NumClasses int // without the null class
	LearnSigma bool

	// TimestepShift is 1 in diffusers' port of DiT, which embeds timesteps at slightly other frequencies than the official code, and else 0.
	TimestepShift int
}

// official are the sizes of the paper's table 1; each comes with patches of 2, 4 and 8.
var official = map[string]struct{ depth, hidden, heads int }{
	"S":  {12, 384, 6},
	"B":  {12, 768, 12},
	"L":  {24, 1024, 16},
	"XL": {28, 1152, 16},
}

// Official returns one of the twelve official configurations, DiT-S/2 to DiT-XL/8, for latents of the given side: 32 for images
// of 256 pixels, 64 for 512.
func Official(name string, inputSize int) (Config, error) {
	for size, o := range official {
		for _, patch := range []int{2, 4, 8} {
			if strings.EqualFold(name, fmt.Sprintf("DiT-%s/%d", size, patch)) {
				return Config{
					Arch: ArchDiT, InputSize: inputSize, PatchSize: patch, InChannels: 4, Hidden: o.hidden, Depth: o.depth,
					Heads: o.heads, MLPHidden: 4 * o.hidden, NumClasses: 1000, LearnSigma: true,
				}, nil
			}
		}
	}
	return Config{}, fmt.Errorf("unknown architecture %q: want one of %s", name, strings.Join(OfficialNames(), ", "))
}

// OfficialNames lists the official configurations.
func OfficialNames() []string {
	var names []string
	for _, size := range []string{"S", "B", "L", "XL"} {
		for _, patch := range []int{2, 4, 8} {
			names = append(names, fmt.Sprintf("DiT-%s/%d", size, patch))
		}
	}
	return names
}

// Name returns the official name of the configuration, or a description of it.
func (c Config) Name() string {
	if c.Arch == ArchDiT && c.MLPHidden == 4*c.Hidden {
		for size, o := range official {
			if o.depth == c.Depth && o.hidden == c.Hidden && o.heads == c.Heads && (c.PatchSize == 2 || c.PatchSize == 4 || c.PatchSize == 8) {
				return fmt.Sprintf("DiT-%s/%d", size, c.PatchSize)
			}
		}
	}
	return fmt.Sprintf("%s with %d blocks of width %d, patch %d", c.Arch, c.Depth, c.Hidden, c.PatchSize)
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

// OutChannels returns the number of channels predicted: those of the noise, and as many for the variance if it is learned.
func (c Config) OutChannels() int {
	if c.LearnSigma {
		return 2 * c.InChannels
	}
	return c.InChannels
}

// NullClass returns the class that stands for no class in guidance.
func (c Config) NullClass() int { return c.NumClasses }

// maxExtent bounds every size of a configuration: far above any model, far below where products overflow.
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
	return errors.Join(errs...)
}

// Parameters returns the number of weights, the fixed position embedding included, as the paper counts.
func (c Config) Parameters() int64 {
	var total int64
	for _, t := range c.Tensors() {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		total += n
	}
	return total
}

// FLOPs returns the floating-point operations of a forward pass in which each of samples samples computes rows rows in every block, and all
// of its tokens in the embedding and the last layer: what tensor.Graph counts. Keys are as many as rows.
func (c Config) FLOPs(samples, rows int) int64 {
	s, r, n, d := int64(samples), int64(rows), int64(c.Tokens()), int64(c.Hidden)
	patch := int64(c.PatchSize * c.PatchSize)
	linear := func(rows, in, out int64) int64 { return 2 * rows * in * out }
	block := linear(s, d, 6*d) + linear(s*r, d, 3*d) + 4*s*r*r*d + linear(s*r, d, d) + 2*linear(s*r, d, int64(c.MLPHidden))
	return int64(c.Depth)*block +
		linear(s*n, patch*int64(c.InChannels), d) + linear(s, 256, d) + linear(s, d, d) +
		linear(s, d, 2*d) + linear(s*n, d, patch*int64(c.OutChannels()))
}

// ActivationBytes returns about how much memory a forward pass of samples samples takes beside the weights: the tokens, and what a block
// has at once of them at its widest.
func (c Config) ActivationBytes(samples int) int64 {
	d := int64(c.Hidden)
	widest := max(d+3*d+d, d+int64(c.MLPHidden)) // normalised, queries to values, attended; normalised, hidden layer
	return 4 * int64(samples) * int64(c.Tokens()) * (d + widest)
}

// positionEmbedding returns the fixed sine-cosine embedding of a grid of n x n positions, [n*n, width]: the first half of the columns
// encodes the column of the position, the second its row, each as sines and then cosines.
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
