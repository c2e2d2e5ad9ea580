package bench

import (
	"math"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Network is a network of a size whose passes are measured, with weights that are made up: a DiT or
// a MiniT2I.
type Network interface {
	Name() string
	load(d tensor.DType) (*model, error)
}

// model is a network that is measured.
type model struct {
	seam.Model
	condition seam.Condition // of all samples
	bytes     int64          // of the weights
}

// DiT is a DiT, MDT or SiT.
type DiT struct{ dit.Config }

func (n DiT) load(d tensor.DType) (*model, error) {
	m, err := dit.NewAs(d, n.Config, source{}, false)
	if err != nil {
		return nil, err
	}
	return &model{m, dit.Class(0), m.Bytes()}, nil
}

// MiniT2I is a text-to-image model. Its prompt has gone through the text's own blocks before a pass
// is measured, as in every step of a sampler.
type MiniT2I struct{ minit2i.Config }

// words are the tokens of the prompt, where the network takes as many.
const words = 20

func (n MiniT2I) load(d tensor.DType) (*model, error) {
	m, err := minit2i.NewAs(d, n.Config, source{})
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	g, count := tensor.NewGraph(pool), min(words, n.TextTokens)
	var p *minit2i.Prompt
	if n.Vocabulary > 0 {
		p, err = m.IDPrompt(g, make([]int32, count))
	} else {
		p, err = m.Prompt(g, tensor.FromSlice(pattern(count*n.TextWidth), count, n.TextWidth), nil)
	}
	if err != nil {
		return nil, err
	}
	return &model{m, p, m.Bytes()}, nil
}

// samples is a batch.
func (m *model) samples(count int) *seam.Batch {
	size := m.Shape().Latents()
	b := &seam.Batch{
		X:    tensor.FromSlice(pattern(count*size), count, size),
		T:    make([]float32, count),
		Cond: make([]seam.Condition, count),
	}
	for i := range b.T {
		b.T[i], b.Cond[i] = 500, m.condition
	}
	return b
}

// source gives weights that keep activations of the size that real ones have.
type source struct{}

func (source) Read(_ string, dst []float32) error {
	scale := float32(1 / math.Sqrt(math.Sqrt(float64(len(dst)))))
	state := uint32(len(dst))
	for i := range dst {
		state = state*1664525 + 1013904223
		dst[i] = (float32(state>>8)/(1<<24) - 0.5) * scale
	}
	return nil
}
