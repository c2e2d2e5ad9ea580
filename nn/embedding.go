package nn

import "github.com/tokencache/tokencache/tensor"

// TimestepWidth is the number of sines and cosines of a timestep, the input of TimestepEmbedder's
// network.
const TimestepWidth = 256

// TimestepEmbedder maps timesteps, whole or fractional, to vectors: sines and cosines, then two
// linear maps with SiLU between.
type TimestepEmbedder struct {
	FC1 *tensor.Weight // [D, 256]
	FC2 *tensor.Weight // [D, D]

	Shift int // of the frequencies: see tensor.Graph.TimestepEmbedding
}

// LoadTimestepEmbedder reads prefix.mlp.0 and prefix.mlp.2.
func LoadTimestepEmbedder(l *Loader, prefix string, width, shift int) *TimestepEmbedder {
	return &TimestepEmbedder{
		FC1:   l.Linear(prefix+".mlp.0", width, TimestepWidth),
		FC2:   l.Linear(prefix+".mlp.2", width, width),
		Shift: shift,
	}
}

// Forward returns the embeddings of t, [len(t), D].
func (e *TimestepEmbedder) Forward(g *tensor.Graph, t []float32) *tensor.Tensor {
	return g.Linear(g.SiLU(g.Linear(g.TimestepEmbedding(t, TimestepWidth, e.Shift), e.FC1)), e.FC2)
}
