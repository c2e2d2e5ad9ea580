package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Superposition is the soft form of TokenCache, through which predictors are trained with the model
// frozen:
//
//	x[l] = alpha·f_l(x[l-1]) + (1-alpha)·(x[l-1] + cached update of block l)
//
// or, where outputs are cached, with the cached output in place of the second bracket: equations
// (2) and (3) of TokenCache. The cache is first filled by passes of the model at earlier positions,
// and forecast from them to the position at hand. Keys and values are superposed likewise, unless they
// are to be fresh.
type Superposition struct {
	g      *tensor.Graph
	tokens int
	text   int // tokens of a sample that are a text's, which are computed always
	cached Cached
	past   *differences // of each block
	keys   *differences // of the keys and values of each block, rows of 2D; nil if they are fresh
	added  []float32    // what the model adds between blocks, [N, D], or nil
	alpha  *Alpha       // nil while the cache is filled

	position int
	last     *tensor.Tensor // after the last block that ran
}

// Superposed says what a Superposition caches, and how it is forecast.
type Superposed struct {
	Cached Cached `json:"cached"`
	Keys   Keys   `json:"keys"` // of pruned tokens
	Order  int    `json:"order"`
	Basis  Basis  `json:"basis"`
}

// NewSuperposition returns the superposition for batches of at most samples samples of m.
func NewSuperposition(g *tensor.Graph, m *seam.Shape, samples int, o Superposed) *Superposition {
	rows := samples * m.Tokens
	s := &Superposition{
		g:      g,
		tokens: m.Tokens,
		text:   m.Text,
		cached: o.Cached,
		past:   o.Basis.differences(tensor.F32, m.Blocks, rows, m.Width, o.Order),
		added:  addedInside(m),
	}
	switch o.Keys {
	case ForecastKeys:
		s.keys = o.Basis.differences(tensor.F32, m.Blocks, rows, 2*m.Width, o.Order)
	case CachedKeys:
		s.keys = o.Basis.differences(tensor.F32, m.Blocks, rows, 2*m.Width, 0)
	}
	return s
}

// Reset empties the cache.
func (s *Superposition) Reset() {
	s.past.reset()
	if s.keys != nil {
		s.keys.reset()
	}
}

// Fill makes the next pass of the model, at a position, compute everything and fill the cache.
func (s *Superposition) Fill(position int) { s.alpha, s.position = nil, position }

// Compute makes the next pass compute everything and leave the cache as it is.
func (s *Superposition) Compute() { s.alpha, s.position = nil, -1 }

// Estimate makes the next pass superpose with alpha, at a position, the same for the whole batch.
func (s *Superposition) Estimate(alpha *Alpha, position int) { s.alpha, s.position = alpha, position }

// Last returns the tokens after the last block of the last pass.
func (s *Superposition) Last() *tensor.Tensor { return s.last }

// Forecast returns the tokens after the last block, from those before the first, if every block
// gives every token its cached update at a position: the estimate where all importances are 0.
func (s *Superposition) Forecast(x *tensor.Tensor, position int) *tensor.Tensor {
	y := s.g.Copy(x)
	s.g.EachRow(y.Rows, y.Cols, func(i int) {
		for block := range s.past.values {
			if s.cached == Output {
				clear(y.Row(i))
			}
			s.past.addForecast(y.Row(i), block, i, position)
		}
		if n := i % s.tokens * y.Cols; s.added != nil && s.cached == Update {
			kernel.Add(y.Row(i), y.Row(i), s.added[n:n+y.Cols])
		}
	})
	return y
}

// Sites implements seam.Reuse.
func (s *Superposition) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (s *Superposition) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	var y *seam.Tokens
	if s.keys != nil {
		x = x.Copy(s.g)
		x.Keys = s.keysOf(at.Block)
	}
	switch {
	case s.alpha != nil:
		y = s.superpose(at.Block, x, f)
	case s.position < 0:
		y = f(x)
	default:
		w := x.X.Cols
		fresh := s.g.New(x.X.Rows, w)
		s.g.EachRow(x.X.Rows, w, func(i int) { copy(fresh.Row(i), x.X.Row(i)) })
		y = f(x)
		s.g.EachRow(x.X.Rows, w, func(i int) {
			if s.cached == Output {
				copy(fresh.Row(i), y.X.Row(i))
			} else {
				kernel.Sub(fresh.Row(i), y.X.Row(i), fresh.Row(i))
			}
			s.past.record(at.Block, i, s.position, fresh.Row(i))
		})
	}
	s.last = y.X
	return y
}

// keysOf returns what becomes of the keys and values that a block's attention makes.
func (s *Superposition) keysOf(block int) func(g *tensor.Graph, kv *tensor.Tensor) *tensor.Tensor {
	switch {
	case s.alpha != nil:
		return func(g *tensor.Graph, kv *tensor.Tensor) *tensor.Tensor {
			return g.Blend(s.importance(block), kv, s.forecastOf(s.keys, block, kv))
		}
	case s.position < 0:
		return nil
	}
	return func(g *tensor.Graph, kv *tensor.Tensor) *tensor.Tensor {
		fresh := g.Copy(kv) // record changes it
		g.EachRow(fresh.Rows, fresh.Cols, func(i int) { s.keys.record(block, i, s.position, fresh.Row(i)) })
		return kv
	}
}

// forecastOf returns what is forecast for a block, of x's shape.
func (s *Superposition) forecastOf(past *differences, block int, x *tensor.Tensor) *tensor.Tensor {
	y := s.g.New(x.Rows, x.Cols)
	s.g.EachRow(x.Rows, x.Cols, func(i int) {
		clear(y.Row(i))
		past.addForecast(y.Row(i), block, i, s.position)
	})
	return y
}

func (s *Superposition) superpose(
	block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	forecast := s.forecastOf(s.past, block, x.X)
	cached := forecast
	if s.cached == Update {
		cached = s.g.Add(x.X, forecast)
	}
	y := f(x)
	return x.With(s.g.Blend(s.importance(block), y.X, cached))
}

// importance returns alpha of all tokens in a block, [rows, 1]: that of a text's is 1.
func (s *Superposition) importance(block int) *tensor.Tensor {
	alpha := s.alpha.Block(s.g, block)
	if s.text == 0 {
		return alpha
	}
	one, from := s.g.New(1, 1), s.g.Ints(alpha.Rows)
	one.Row(0)[0] = 1
	for i := range from {
		if from[i] = int32(i); i%s.tokens < s.text {
			from[i] = -1
		}
	}
	return s.g.Merge(alpha, one, from)
}
