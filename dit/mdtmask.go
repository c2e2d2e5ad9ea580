package dit

import (
	"fmt"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Masked latent modelling: in a pass of its own, beside the full one, the encoder sees some of the
// tokens alone, the side-interpolater fills the others in, and the decoder and the loss are of all.
// What is kept is drawn by the caller.

// ForwardMasked is Forward of an MDT made for training, in which only the tokens of the places
// kept[s] of each sample s, at least one, in ascending order, enter the encoder. It returns the
// prediction for all tokens, [samples, Cout*S*S]. With all tokens kept it gives Forward's bits.
func (m *Model) ForwardMasked(g *tensor.Graph, b *seam.Batch, kept [][]int32) *tensor.Tensor {
	x := m.Embed(g, b)
	all := *x // [samples*N, D]: the patch embedding, which the decoder's long skips bring
	mask := m.newMask(g, len(b.T), kept)

	x = x.Gather(g, mask.kept) // [kept rows, D]
	for i := range m.encoder() {
		x = x.Copy(g)
		m.giveSkip(g, i, x)
		x = m.Blocks[i].Forward(g, seam.Always, i, x)
	}
	x = m.interpolate(g, all.With(x.X), mask)
	for i := m.encoder(); i < m.Depth; i++ {
		x = x.Copy(g)
		if m.HasSkip(i) {
			x.Skip = all.X
		}
		x = m.Blocks[i].Forward(g, seam.Always, i, x)
	}
	return m.Head(g, x)
}

// CheckMask reports places kept that ForwardMasked does not take.
func (m *Model) CheckMask(b *seam.Batch, kept [][]int32) error {
	if m.Side == nil {
		return fmt.Errorf("masked pass: a %s that was not made for training, or has no side-interpolater", m.Arch)
	}
	if len(kept) != len(b.T) {
		return fmt.Errorf("masked pass: %d samples with masks of %d", len(b.T), len(kept))
	}
	for s, places := range kept {
		if len(places) == 0 {
			return fmt.Errorf("masked pass: sample %d keeps no token, want at least one", s)
		}
		last := int32(-1)
		for _, p := range places {
			if p <= last || int(p) >= m.Tokens() {
				return fmt.Errorf("masked pass: sample %d keeps place %d after %d, want ascending places below %d", s, p, last, m.Tokens())
			}
			last = p
		}
	}
	return nil
}

// tokenMask says which rows of a batch of whole grids are kept.
type tokenMask struct {
	kept, masked []int32 // rows, ascending
	fill         []int32 // of each row: which kept row it is, or -1, for the mask token
	join         []int32 // of each row: itself, or -1-i for the i-th masked row
}

func (m *Model) newMask(g *tensor.Graph, samples int, kept [][]int32) tokenMask {
	n := m.Tokens()
	count := 0
	for _, places := range kept {
		count += len(places)
	}
	rows := samples * n
	t := tokenMask{kept: g.Ints(count)[:0], masked: g.Ints(rows - count)[:0], fill: g.Ints(rows), join: g.Ints(rows)}
	for row := range int32(rows) {
		t.fill[row] = -1
	}
	for s, places := range kept {
		for _, p := range places {
			row := int32(s*n) + p
			t.fill[row] = int32(len(t.kept))
			t.kept = append(t.kept, row)
		}
	}
	for row, from := range t.fill {
		t.join[row] = int32(row)
		if from < 0 {
			t.join[row] = int32(-1 - len(t.masked))
			t.masked = append(t.masked, int32(row))
		}
	}
	return t
}

// interpolate returns all tokens [samples*N, D], of the encoder's values x.X [kept rows, D], with
// the decoder's position embedding: at the masked places are the side-interpolater's values, which
// it makes from all tokens with the mask token at these places. x has the layout of all tokens. As
// the block's values at kept places would not be used, it computes those of masked ones alone,
// which attend to all.
func (m *Model) interpolate(g *tensor.Graph, x *seam.Tokens, mask tokenMask) *seam.Tokens {
	x = x.With(g.AddCyclic(g.Merge(x.X, m.MaskToken, mask.fill), m.decoderPos))
	if len(mask.masked) == 0 {
		return x
	}
	side := x.Gather(g, mask.masked) // [masked rows, D]
	side.From = x
	side = m.Side.Forward(g, seam.Always, m.Depth, side)
	return x.With(g.Merge(x.X, side.X, mask.join))
}
