package reuse

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// PredictorConfig is the size of a Predictor, which is that of its model: [blocks, tokens]
// importances.
type PredictorConfig struct {
	Kind   Importance `json:"kind"` // Static or Dynamic
	Blocks int        `json:"blocks"`
	Tokens int        `json:"tokens"`

	// Of the block of Dynamic, which are the model's.
	Width     int `json:"width"`
	Heads     int `json:"heads"`
	MLPHidden int `json:"mlp_hidden"`
}

// staticWidth is the width of the static predictor's embeddings and of its hidden layer.
const staticWidth = 64

// NewPredictorConfig returns the configuration of a predictor for m.
func NewPredictorConfig(kind Importance, m *seam.Shape) PredictorConfig {
	return PredictorConfig{
		Kind:      kind,
		Blocks:    m.Blocks,
		Tokens:    m.Tokens,
		Width:     m.Width,
		Heads:     m.Heads,
		MLPHidden: m.MLPHidden,
	}
}

// Predictor is the paper's Cache Predictor g: it tells how much it matters that a token is computed
// in a block, alpha in [0,1].
//
// The static one, of the first version, knows block and timestep: alpha[l,:] = g(l, t), a network
// with one hidden layer on the sum of their embeddings. The dynamic one, of the second, reads x_t:
// a transformer block on the model's own embedding of x_t, t and y, then layer norm and a linear
// map to the L importances of each token.
type Predictor struct {
	PredictorConfig

	block *dit.Block     // dynamic
	head  *tensor.Weight // dynamic, [L, D]

	embedding *tensor.Tensor // static, [L, E]
	time      *nn.TimestepEmbedder
	fc1, fc2  *tensor.Weight // static, [E, E] and [N, E]

	fingerprint string // of the weights as they were read
}

// Tensors lists the weights, with their shapes.
func (c PredictorConfig) Tensors() []checkpoint.Want {
	var list []checkpoint.Want
	linear := func(name string, out, in int) {
		list = append(list,
			checkpoint.Want{Name: name + ".weight", Shape: []int{out, in}},
			checkpoint.Want{Name: name + ".bias", Shape: []int{out}})
	}
	if c.Kind == Static {
		list = append(list, checkpoint.Want{
			Name:  "block_embedding.weight",
			Shape: []int{c.Blocks, staticWidth},
		})
		linear("t_embedder.mlp.0", staticWidth, nn.TimestepWidth)
		linear("t_embedder.mlp.2", staticWidth, staticWidth)
		linear("fc1", staticWidth, staticWidth)
		linear("fc2", c.Tokens, staticWidth)
		return list
	}
	linear("block.attn.qkv", 3*c.Width, c.Width)
	linear("block.attn.proj", c.Width, c.Width)
	linear("block.mlp.fc1", c.MLPHidden, c.Width)
	linear("block.mlp.fc2", c.Width, c.MLPHidden)
	linear("block.adaLN_modulation.1", 6*c.Width, c.Width)
	linear("head", c.Blocks, c.Width)
	return list
}

// NewPredictor reads a predictor from src.
func NewPredictor(c PredictorConfig, src nn.Source) (*Predictor, error) {
	return loadPredictor(c, nn.NewLoader(src))
}

// NewTrainablePredictor is NewPredictor for training; it also returns the parameters.
func NewTrainablePredictor(c PredictorConfig, src nn.Source) (*Predictor, []*tensor.Param, error) {
	l := nn.NewLoader(src)
	l.Train()
	p, err := loadPredictor(c, l)
	return p, l.Params(), err
}

func loadPredictor(c PredictorConfig, l *nn.Loader) (*Predictor, error) {
	p := &Predictor{PredictorConfig: c}
	switch c.Kind {
	case Static:
		p.embedding = l.Table("block_embedding.weight", c.Blocks, staticWidth)
		p.time = nn.LoadTimestepEmbedder(l, "t_embedder", staticWidth, 0)
		p.fc1, p.fc2 = l.Linear("fc1", staticWidth, staticWidth), l.Linear("fc2", c.Tokens, staticWidth)
	case Dynamic:
		p.block = dit.LoadBlock(l, "block.", dit.Config{Hidden: c.Width, Heads: c.Heads, MLPHidden: c.MLPHidden})
		p.head = l.Linear("head", c.Blocks, c.Width)
	default:
		return nil, fmt.Errorf("unknown kind of predictor %q: want %s or %s", c.Kind, Static, Dynamic)
	}
	p.fingerprint = l.Fingerprint()
	return p, l.Err()
}

// Repack makes a trainable Predictor see its parameters' values after they changed.
func (p *Predictor) Repack() {
	if p.Kind == Static {
		for _, w := range []*tensor.Weight{p.time.FC1, p.time.FC2, p.fc1, p.fc2} {
			w.Repack()
		}
		return
	}
	b := p.block
	for _, w := range []*tensor.Weight{b.AdaLN, b.Attn.QKV, b.Attn.Proj, b.MLP.FC1, b.MLP.FC2, p.head} {
		w.Repack()
	}
}

// Alpha is the importance of every token in every block for a batch.
type Alpha struct {
	p   *Predictor
	all *tensor.Tensor // dynamic: [samples*N, L]; static: [samples*L, N]
	// chosen is what Block returns: all, or the hard choice.
	chosen *tensor.Tensor
}

func newAlpha(p *Predictor, all *tensor.Tensor) *Alpha { return &Alpha{p, all, all} }

// at returns the index in all of a token in a block of a sample.
func (a *Alpha) at(sample, block, token int) int {
	if a.p.Kind == Dynamic {
		return (sample*a.p.Tokens+token)*a.p.Blocks + block
	}
	return (sample*a.p.Blocks+block)*a.p.Tokens + token
}

// Harden makes Block return what sampling with t does where a share ratio is computed: 1 for the
// pairs of block and token that t chooses by the importances, and 0 for the others. Gradients pass
// straight through to the importances.
func (a *Alpha) Harden(g *tensor.Graph, t *TokenCache, m *seam.Shape, ratio float64) error {
	k, err := newSelector(t, m)
	if err != nil {
		return err
	}
	alpha, hard := make([]float32, a.p.Blocks*a.p.Tokens), make([]float32, len(a.all.Flat()))
	kept := make([][]int32, a.p.Blocks)
	for s := range len(hard) / len(alpha) {
		a.copySample(alpha, s)
		k.choose(kept, alpha, ratio)
		for block, tokens := range kept {
			for _, i := range tokens {
				hard[a.at(s, block, int(i))] = 1
			}
		}
	}
	a.chosen = g.StraightThrough(a.all, hard)
	return nil
}

// Forward returns the importances for b, a batch of m.
func (p *Predictor) Forward(g *tensor.Graph, m seam.Model, b *seam.Batch) *Alpha {
	if p.Kind == Dynamic {
		x := m.Embed(g, b)
		if x.C == nil { // a model that is told of nothing but its tokens
			x.C = g.New(len(b.T), p.Width)
			clear(x.C.Data)
		}
		// The block overwrites its tokens unless a tape records, so the model makes its own
		// embedding.
		y := p.block.Forward(g, seam.Always, 0, x)
		z := g.LayerNormModulate(y.X, nil, nil, x.Rows, headEps)
		return newAlpha(p, g.Sigmoid(g.Linear(z, p.head)))
	}
	samples := len(b.T)
	blocks, times := g.Ints(samples*p.Blocks), g.Ints(samples*p.Blocks)
	for i := range blocks {
		blocks[i], times[i] = int32(i%p.Blocks), int32(i/p.Blocks)
	}
	// [samples*L, E]
	e := g.Add(g.Gather(p.embedding, blocks), g.Gather(p.time.Forward(g, b.T), times))
	return newAlpha(p, g.Sigmoid(g.Linear(g.SiLU(g.Linear(g.SiLU(e), p.fc1)), p.fc2)))
}

const headEps = 1e-6

// Block returns the importances of all tokens of all samples in a block, [samples*N, 1].
func (a *Alpha) Block(g *tensor.Graph, block int) *tensor.Tensor {
	if a.p.Kind == Dynamic {
		return g.Columns(a.chosen, block, block+1)
	}
	samples := a.all.Rows / a.p.Blocks
	rows := g.Ints(samples)
	for s := range rows {
		rows[s] = int32(s*a.p.Blocks + block)
	}
	return g.Reshape(g.Gather(a.chosen, rows), samples*a.p.Tokens, 1)
}

// All returns the importances as one matrix, in no order that callers may rely on: for the cost,
// which is their mean.
func (a *Alpha) All() *tensor.Tensor { return a.all }

// OfImage returns which of the importances in a row of All are of an image's tokens, not of a
// text's.
func (a *Alpha) OfImage(m *seam.Shape, row int) (from, to int) {
	switch {
	case a.p.Kind == Static:
		return m.Text, a.all.Cols
	case row%a.p.Tokens < m.Text:
		return 0, 0
	}
	return 0, a.all.Cols
}

// copySample sets dst, [L, N], to the importances of a sample.
func (a *Alpha) copySample(dst []float32, s int) {
	n, all := a.p.Tokens, a.all.Flat()
	for block := range a.p.Blocks {
		for i := range n {
			dst[block*n+i] = all[a.at(s, block, i)]
		}
	}
}

// JSON is the configuration as ReadPredictor reads it from a file's metadata.
func (c PredictorConfig) JSON() ([]byte, error) { return json.Marshal(c) }

// ReadPredictor reads a predictor from a checkpoint whose metadata tells its configuration.
func ReadPredictor(f *checkpoint.File) (*Predictor, error) {
	var c PredictorConfig
	err := json.Unmarshal([]byte(f.Metadata()[checkpoint.ConfigKey]), &c)
	if err != nil || c.Kind != Static && c.Kind != Dynamic {
		return nil, fmt.Errorf("%s: not a cache predictor: its metadata has no %s of kind %s or %s",
			f.Path, checkpoint.ConfigKey, Static, Dynamic)
	}
	const maxSize = 1 << 16
	for _, n := range []int{c.Blocks, c.Tokens, c.Width, c.Heads, c.MLPHidden} {
		if n < 1 || n > maxSize {
			return nil, fmt.Errorf("%s: impossible sizes of a cache predictor: %+v", f.Path, c)
		}
	}
	if err := checkpoint.Check(f, c.Tensors(), nil); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return NewPredictor(c, f)
}

// InitPredictor is the source of a new predictor's weights: the dynamic one's block is the model's
// first, as Model gives it, and everything else is small, so that at first all tokens matter about
// alike.
type InitPredictor struct {
	Config PredictorConfig
	Model  nn.Source // of the model's weights
	Block  string    // name of its first block: dit.Config.BlockName; "": it has none of that kind
	Seed   uint64
}

// Read fills dst with the named tensor.
func (f InitPredictor) Read(name string, dst []float32) error {
	if f.Config.Kind == Dynamic && f.Block != "" && name != "head.weight" && name != "head.bias" {
		return f.Model.Read(f.Block+name[len("block"):], dst)
	}
	last := name == "head.weight" || name == "fc2.weight"
	for _, w := range f.Config.Tensors() {
		if w.Name != name {
			continue
		}
		if len(w.Shape) == 1 {
			clear(dst)
			return nil
		}
		deviation := math.Sqrt(1 / float64(w.Shape[1]))
		if last {
			deviation *= 0.1
		}
		h := fnv.New64a()
		h.Write([]byte(name))
		r := rand.New(rand.NewPCG(f.Seed, h.Sum64()))
		for i := range dst {
			dst[i] = float32(deviation * r.NormFloat64())
		}
		return nil
	}
	return fmt.Errorf("a cache predictor has no tensor %s", name)
}

// predictorRun is a Predictor in a run.
type predictorRun struct {
	p     *Predictor
	m     seam.Model
	alpha *Alpha
}

// check reports a model that the predictor is not for.
func (p *Predictor) check(m *seam.Shape) error {
	dynamic := p.Kind == Dynamic
	if p.Blocks != m.Blocks || p.Tokens != m.Tokens || dynamic && (p.Width != m.Width || p.Heads != m.Heads) {
		return fmt.Errorf(
			"a predictor for a model of %d blocks, %d tokens, width %d and %d heads; this one has %d, %d, %d and %d",
			p.Blocks, p.Tokens, p.Width, p.Heads, m.Blocks, m.Tokens, m.Width, m.Heads)
	}
	return nil
}

func (r *predictorRun) begin(g *tensor.Graph, b *seam.Batch) { r.alpha = r.p.Forward(g, r.m, b) }
