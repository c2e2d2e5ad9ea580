package train

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tokencache/tokencache/dit"
)

// draws returns the random numbers that belong to a text and some numbers: the same on every machine, whatever was drawn before.
func draws(what string, numbers ...uint64) *rand.Rand {
	b := []byte("tokencache " + what)
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(b)))
}

// Fresh is the source of a new DiT's or MDT's weights, initialised as in the official code: linear maps by Xavier's uniform distribution with zero biases,
// embeddings of classes and timesteps, the mask token and tables of position biases by a normal one of deviation 0.02, and zeros for what makes
// blocks the identity (adaLN-Zero) and the output 0.
type Fresh struct {
	seed   uint64
	shapes map[string][]int
}

// NewFresh returns the weights of a model of configuration c that seed stands for.
func NewFresh(c dit.Config, seed uint64) *Fresh {
	f := &Fresh{seed: seed, shapes: map[string][]int{}}
	for _, w := range c.Tensors() {
		f.shapes[w.Name] = w.Shape
	}
	return f
}

// Read fills dst with the named tensor.
func (f *Fresh) Read(name string, dst []float32) error {
	shape, ok := f.shapes[name]
	if !ok {
		return fmt.Errorf("a new model has no tensor %s", name)
	}
	r := draws("weights "+name, f.seed)
	switch {
	case strings.HasSuffix(name, ".bias"), strings.Contains(name, "adaLN_modulation"), strings.HasPrefix(name, "final_layer.linear"):
		clear(dst)
	case strings.HasPrefix(name, "t_embedder"), strings.HasPrefix(name, "y_embedder"), name == "mask_token", strings.HasSuffix(name, "relative_position_bias_table"):
		for i := range dst {
			dst[i] = float32(0.02 * r.NormFloat64())
		}
	default:
		in := len(dst) / shape[0]
		limit := math.Sqrt(6 / float64(in+shape[0]))
		for i := range dst {
			dst[i] = float32(limit * (2*r.Float64() - 1))
		}
	}
	return nil
}
