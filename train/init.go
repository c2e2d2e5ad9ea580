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

// newRand returns the random generator that a text and some numbers seed: the same on every
// machine.
func newRand(what string, numbers ...uint64) *rand.Rand {
	b := []byte("tokencache " + what)
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(b)))
}

// Init is the source of a new DiT's or MDT's weights, initialised as in the official code: linear
// maps from Xavier's uniform distribution with zero biases; embeddings of classes and timesteps,
// the mask token and tables of position biases from a normal distribution of deviation 0.02; and
// zeros where blocks must be the identity (adaLN-Zero) and the output 0.
type Init struct {
	seed   uint64
	shapes map[string][]int
}

// NewInit returns the initial weights of a model of configuration c, which depend on seed alone.
func NewInit(c dit.Config, seed uint64) *Init {
	f := &Init{seed: seed, shapes: map[string][]int{}}
	for _, w := range c.Tensors() {
		f.shapes[w.Name] = w.Shape
	}
	return f
}

// Read fills dst with the named tensor.
func (f *Init) Read(name string, dst []float32) error {
	shape, ok := f.shapes[name]
	if !ok {
		return fmt.Errorf("a new model has no tensor %s", name)
	}
	r := newRand("weights "+name, f.seed)
	switch {
	case strings.HasSuffix(name, ".bias"), strings.Contains(name, "adaLN_modulation"),
		strings.HasPrefix(name, "final_layer.linear"):
		clear(dst)
	case strings.HasPrefix(name, "t_embedder"), strings.HasPrefix(name, "y_embedder"), name == "mask_token",
		strings.HasSuffix(name, "relative_position_bias_table"):
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
