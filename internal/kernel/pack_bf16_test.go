package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// transposed returns the transpose of x, [rows, cols].
func transposed(x []float32, rows, cols int) []float32 {
	t := make([]float32, len(x))
	for r := range rows {
		for c := range cols {
			t[c*rows+r] = x[r*cols+c]
		}
	}
	return t
}

// sameBits reports whether two slices hold the same bits.
func sameBits(a, b []float32) bool {
	return slices.Equal(integers[uint16](a), integers[uint16](b))
}

// TestPackBF16 checks every number of a matrix packed by rows against its definition, and that
// packing the transpose by columns gives the same words.
func TestPackBF16(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(5, 6))
		for _, size := range [][2]int{{1, 1}, {3, 2}, {7, 9}, {16, 130}, {49, 64}, {100, 131}} {
			n, k := size[0], size[1]
			w := awkward(rnd, n*k)
			byRows := AlignedFloats(WordsLen(BF16, n, k))
			for i := range byRows {
				byRows[i] = 1
			}
			byColumns := slices.Clone(byRows)
			p := PackNKBF16(byRows, w, k, n, k)
			for i := range p.Panels() {
				first, cols := p.Panel(i)
				panel, width := p.panel(i)
				group := p.layout.group
				halves := integers[uint16](panel)
				for at, got := range halves {
					in, j := at/group/width*group+at%group, at/group%width
					want := uint16(0)
					if j < cols && in < k {
						want = toBF16(w[(first+j)*k+in])
					}
					if got != want {
						t.Fatalf("%d x %d: output %d, input %d is %04x, want %04x", n, k, first+j, in, got, want)
					}
				}
			}
			PackKNBF16(byColumns, transposed(w, n, k), n, n, k)
			if !sameBits(byRows, byColumns) {
				t.Errorf("%d x %d: the transpose packed by columns has other words", n, k)
			}
		}
	})
}

// TestColumns checks that the conversion of columns is that of the transpose's rows, in whatever
// parts, and that their product with a packed matrix is, too.
func TestColumns(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(7, 8))
		for _, size := range [][2]int{{1, 1}, {2, 5}, {17, 31}, {40, 64}, {33, 130}} {
			m, k := size[0], size[1]
			x := awkward(rnd, m*k)
			w := awkward(rnd, 20*k)
			p := PackNKBF16(AlignedFloats(WordsLen(BF16, 20, k)), w, k, 20, k)
			want := NewConverted(AlignedFloats(ConvertedLen(&p, m)), &p, m)
			want.Rows(x, k, 0, m)
			got := NewColumns(AlignedFloats(ColumnsLen(m, k)), m, k)
			scratch := AlignedFloats(got.ColumnsScratch(k))
			for _, part := range [][2]int{{0, k / 6 * 2}, {k / 6 * 2, k}} {
				got.Columns(scratch, transposed(x, m, k), m, part[0], part[1])
			}
			if !sameBits(got.words, want.words) {
				t.Fatalf("%d x %d: columns differ from rows of the transpose", m, k)
			}
			results := [2][]float32{AlignedFloats(m * 20), AlignedFloats(m * 20)}
			for i, c := range []*Converted{&got, &want} {
				g := Gemm{M: m, X: c, B: &p, C: results[i], LDC: 20}
				g.Run(AlignedFloats(GemmScratch), 0, m, 0, p.Panels())
			}
			if !sameBits(results[0], results[1]) {
				t.Errorf("%d x %d: products differ", m, k)
			}
		}
	})
}

// BenchmarkPackBF16 measures packing of a matrix by rows and by columns, and conversion by columns.
func BenchmarkPackBF16(b *testing.B) {
	const n, k = 512, 192
	w := randomFloats(rand.New(rand.NewPCG(1, 1)), n*k)
	benchmarkImpls(b, func(b *testing.B) {
		words := AlignedFloats(WordsLen(BF16, n, k) + WordsLen(BF16, k, n))
		c := NewColumns(AlignedFloats(ColumnsLen(k, n)), k, n)
		scratch := AlignedFloats(c.ColumnsScratch(n))
		for i, run := range []func(){
			func() { PackNKBF16(words[:WordsLen(BF16, n, k)], w, k, n, k) },
			func() { PackKNBF16(words[:WordsLen(BF16, k, n)], w, k, k, n) },
			func() { c.Columns(scratch, w, k, 0, n) },
		} {
			b.Run(fmt.Sprint([]string{"rows", "columns", "transposed"}[i]), func(b *testing.B) {
				b.SetBytes(4 * n * k)
				for b.Loop() {
					run()
				}
			})
		}
	})
}
