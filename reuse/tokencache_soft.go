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
// and forecast from them to the position at hand.
type Superposition struct {
	g      *tensor.Graph
	tokens int
	cached Cached
	past   *differences // of each block
	added  []float32    // what the model adds between blocks, [N, D], or nil
	alpha  *Alpha       // nil while the cache is filled

	position int
	last     *tensor.Tensor // after the last block that ran
}

// NewSuperposition returns the superposition for batches of at most samples samples of m.
func NewSuperposition(
	g *tensor.Graph, m *seam.Shape, samples int, cached Cached, order int, basis Basis,
) *Superposition {
	past := basis.differences(tensor.F32, m.Blocks, samples*m.Tokens, m.Width, order)
	return &Superposition{g: g, tokens: m.Tokens, cached: cached, past: past, added: addedInside(m)}
}

// Reset empties the cache.
func (s *Superposition) Reset() { s.past.reset() }

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

func (s *Superposition) superpose(
	block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	forecast := s.g.New(x.X.Rows, x.X.Cols)
	s.g.EachRow(x.X.Rows, x.X.Cols, func(i int) {
		clear(forecast.Row(i))
		s.past.addForecast(forecast.Row(i), block, i, s.position)
	})
	cached := forecast
	if s.cached == Update {
		cached = s.g.Add(x.X, forecast)
	}
	y := f(x)
	return x.With(s.g.Blend(s.alpha.Block(s.g, block), y.X, cached))
}
