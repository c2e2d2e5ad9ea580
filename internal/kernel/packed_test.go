package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func TestAlignedFloats(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 1000} {
		s := AlignedFloats(n)
		if len(s) != n || cap(s) != n || uintptr(unsafe.Pointer(unsafe.SliceData(s)))%cacheLine != 0 {
			t.Errorf("AlignedFloats(%d): %d floats of %d at %p", n, len(s), cap(s), s)
		}
	}
}

// TestPanelsCoverColumns checks that panels follow each other without gaps and that none is more
// than a vector wider than another.
func TestPanelsCoverColumns(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		lanes, vectors := active.product.lanes, active.product.vectors
		for n := 1; n <= 400; n++ {
			p := PackNK(make([]float32, PackedLen(n, 1)), make([]float32, n), 1, n, 1)
			next, narrowest, widest := 0, vectors*lanes, 0
			for i := range p.Panels() {
				first, cols := p.Panel(i)
				_, width := p.panel(i)
				if first != next || cols < 1 || width != roundUp(cols, lanes) {
					t.Fatalf("%d columns, panel %d: first %d (want %d), columns %d, width %d",
						n, i, first, next, cols, width)
				}
				next = first + cols
				narrowest, widest = min(narrowest, width), max(widest, width)
			}
			if next != n || widest > vectors*lanes || widest-narrowest > lanes {
				t.Fatalf("%d columns: panels end at %d and are %d to %d wide", n, next, narrowest, widest)
			}
		}
	})
}

func TestPackNKEqualsPackKNOfTranspose(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(17, 18))
		source, transposed, nk, kn := newGuard(t, 1<<13), newGuard(t, 1<<13), newGuard(t, 1<<13), newGuard(t, 1<<13)
		for n := 1; n <= 52; n++ {
			for _, k := range []int{1, 7, 8, 19, 32} {
				w := source.matrix(rnd, n, k, k+1)
				wt := transposed.slice((k-1)*(n+2) + n)
				Transpose(wt, n+2, w, k+1, n, k)
				size := PackedLen(n, k)
				PackNK(nk.slice(size), w, k+1, n, k)
				PackKN(kn.slice(size), wt, n+2, n, k)
				nk.check(t, "PackNK", 1, size, size)
				kn.check(t, "PackKN", 1, size, size)
				a, b := nk.mem[len(nk.mem)-size:], kn.mem[len(kn.mem)-size:]
				if diff := cmp.Diff(b, a); diff != "" {
					t.Fatalf("%d x %d: PackKN of the transpose (-), PackNK (+):\n%s", n, k, diff)
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(19, 20))
		from, to := newGuard(t, 1<<12), newGuard(t, 1<<12)
		for rows := 1; rows <= 26; rows++ {
			for cols := 1; cols <= 26; cols++ {
				lds, ldd := cols+rows%3, rows+cols%3
				src, dst := from.matrix(rnd, rows, cols, lds), to.slice((cols-1)*ldd+rows)
				Transpose(dst, ldd, src, lds, rows, cols)
				to.check(t, fmt.Sprintf("%d x %d", rows, cols), cols, rows, ldd)
				for r := range rows {
					for c := range cols {
						if dst[c*ldd+r] != src[r*lds+c] {
							t.Fatalf("%d x %d: dst[%d,%d] = %v, want %v", rows, cols, c, r, dst[c*ldd+r], src[r*lds+c])
						}
					}
				}
			}
		}
	})
}

func TestPackingRefusesWhatDoesNotFit(t *testing.T) {
	dst, w := make([]float32, PackedLen(5, 4)), make([]float32, 20)
	tests := map[string]func(){
		"no outputs":         func() { PackNK(dst, w, 4, 0, 4) },
		"no inputs":          func() { PackKN(dst, w, 5, 5, 0) },
		"NK destination":     func() { PackNK(dst[1:], w, 4, 5, 4) },
		"KN destination":     func() { PackKN(dst[1:], w, 5, 5, 4) },
		"NK weights":         func() { PackNK(dst, w[1:], 4, 5, 4) },
		"KN weights":         func() { PackKN(dst, w[1:], 5, 5, 4) },
		"transpose, from":    func() { Transpose(dst, 5, w[1:], 4, 5, 4) },
		"transpose, to":      func() { Transpose(dst[:19], 5, w, 4, 5, 4) },
		"transpose, overlap": func() { Transpose(dst, 4, w, 4, 5, 4) },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) { mustPanic(t, f) })
	}
}

func BenchmarkTranspose(b *testing.B) {
	benchmarkImpls(b, func(b *testing.B) {
		const rows, cols = 256, 64
		src, dst := AlignedFloats(rows*cols*6), AlignedFloats(rows*cols)
		b.SetBytes(2 * 4 * rows * cols)
		for b.Loop() {
			Transpose(dst, rows, src, 6*cols, rows, cols)
		}
	})
}
