package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// newAttention returns a head on guarded memory, and the guard of its output. Its queries and keys
// lie side by side in rows of 3*dim floats, as a model's do.
func newAttention(t *testing.T, rnd *rand.Rand, nq, nk, dim int, bias, colSum bool) (*Attention, *guard) {
	ld := 3*dim + 1
	operand := func(rows int) []float32 { return newGuard(t, rows*ld).matrix(rnd, rows, dim, ld) }
	out := newGuard(t, nq*ld)
	a := &Attention{
		Q: operand(nq), LDQ: ld, NQ: nq,
		K: operand(nk), LDK: ld, V: operand(nk), LDV: ld, NK: nk, Dim: dim,
		Scale: float32(1 / math.Sqrt(float64(dim))),
		Out:   out.matrix(rnd, nq, dim, ld), LDOut: ld,
	}
	if bias {
		a.LDBias = nk + 2
		a.Bias = newGuard(t, nq*a.LDBias).matrix(rnd, nq, nk, a.LDBias)
	}
	if colSum {
		a.ColSum = newGuard(t, nk).slice(nk)
		fillRandom(rnd, a.ColSum)
	}
	return a, out
}

// rounded returns the attention with queries, keys and values in its number format.
func (a *Attention) rounded() *Attention {
	r := *a
	if a.DType == BF16 {
		for _, m := range []*[]float32{&r.Q, &r.K, &r.V} {
			*m = slices.Clone(*m)
			for i, v := range *m {
				(*m)[i] = fromBF16(toBF16(v))
			}
		}
	}
	return &r
}

// reference returns softmax(Scale·Q·Kᵀ + Bias)·V and the sums of the columns of the softmax, in
// float64, and the largest error that float32 may add to an exponent of the softmax.
func (a *Attention) reference() (out, colSum []float64, exponentError float64) {
	out, colSum = make([]float64, a.NQ*a.Dim), make([]float64, a.NK)
	for q := range a.NQ {
		weights, highest := make([]float64, a.NK), math.Inf(-1)
		for k := range a.NK {
			var dot, magnitude float64
			for i := range a.Dim {
				v := float64(a.Q[q*a.LDQ+i]) * float64(a.K[k*a.LDK+i])
				dot += v
				magnitude += math.Abs(v)
			}
			scale := float64(a.Scale)
			w := scale * dot
			if a.Bias != nil {
				w += float64(a.Bias[q*a.LDBias+k])
			}
			weights[k] = w
			highest = max(highest, w)
			exponentError = max(exponentError, unit*(float64(a.Dim+2)*math.Abs(scale)*magnitude+2*math.Abs(w)))
		}
		var sum float64
		for k, w := range weights {
			weights[k] = math.Exp(w - highest)
			sum += weights[k]
		}
		for k, w := range weights {
			colSum[k] += w / sum
			for i := range a.Dim {
				out[q*a.Dim+i] += w / sum * float64(a.V[k*a.LDV+i])
			}
		}
	}
	return out, colSum, exponentError
}

// run packs and computes the whole head on guarded memory.
func (a *Attention) run(t *testing.T) {
	packed := newGuard(t, a.PackedLen()).slice(a.PackedLen())
	scratch := newGuard(t, a.ScratchLen()).slice(a.ScratchLen())
	a.Pack(packed, scratch)
	a.Run(packed, scratch, 0, a.NQ)
}

func TestAttention(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(11, 12))
		testIn := func(d DType, nq, nk, dim int, bias, colSum bool) {
			t.Run(fmt.Sprintf("%v/%dx%dx%d/bias=%v/colSum=%v", d, nq, nk, dim, bias, colSum), func(t *testing.T) {
				a, guard := newAttention(t, rnd, nq, nk, dim, bias, colSum)
				a.DType = d
				sumsBefore := slices.Clone(a.ColSum)
				a.run(t)
				guard.check(t, "output", nq, dim, a.LDOut)
				out, sums, exponentError := a.rounded().reference()
				// An error e in each exponent moves each weight, and the sum that divides it, by a
				// factor within exp(±e); rounding adds a few units to each weight and one for each
				// of the nk terms.
				relative := 2*math.Expm1(exponentError) + float64(2*nk+16)*unit
				sumsRelative := relative
				if d == BF16 {
					relative += 0x1p-8 // the rounding of the weights, whose sum is 1
				}
				for q := range nq {
					for i := range dim {
						var largest float64
						for k := range nk {
							largest = max(largest, math.Abs(float64(a.V[k*a.LDV+i])))
						}
						got, want := float64(a.Out[q*a.LDOut+i]), out[q*dim+i]
						if !(math.Abs(got-want) <= relative*largest) {
							t.Fatalf("Out[%d,%d] = %v, want %v within %.2g", q, i, got, want, relative*largest)
						}
					}
				}
				for k, got := range a.ColSum {
					want := float64(sumsBefore[k]) + sums[k]
					tolerance := sumsRelative*sums[k] + float64(nq)*unit*(math.Abs(float64(sumsBefore[k]))+sums[k])
					if !(math.Abs(float64(got)-want) <= tolerance) {
						t.Fatalf("ColSum[%d] = %v, want %v within %.2g", k, got, want, tolerance)
					}
				}
			})
		}
		test := func(nq, nk, dim int, bias, colSum bool) {
			testIn(F32, nq, nk, dim, bias, colSum)
			testIn(BF16, nq, nk, dim, bias, colSum)
		}
		for _, dim := range []int{1, 12, 24, 32, 64, 72, 80, 512} {
			test(19, 33, dim, dim%3 == 0, dim%2 == 0)
		}
		for n := 1; n <= 70; n += 1 + n/9 {
			test(1+n%11, n, 24, n%2 == 0, n%3 == 0)
			test(n, 1+n%18, 20, n%3 == 0, n%2 == 0)
		}
		for i, nk := range []int{LongAttention - 1, LongAttention, LongAttention + 1, 777, 1024} {
			test(13+20*i, nk, 24, false, false)
			test(5, nk, 20, i%2 == 0, i%2 == 1)
		}
	})
}

func TestAttentionDivisionKeepsEveryBit(t *testing.T) {
	for _, d := range []DType{F32, BF16} {
		t.Run(d.String()+", one block of keys", func(t *testing.T) { divideAttention(t, d, 45, 50, true) })
		t.Run(d.String()+", several", func(t *testing.T) { divideAttention(t, d, 85, LongAttention+100, false) })
	}
}

func divideAttention(t *testing.T, d DType, nq, nk int, bias bool) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(13, 14))
		a, _ := newAttention(t, rnd, nq, nk, 24, bias, false)
		a.DType = d
		packed, scratch := make([]float32, a.PackedLen()), make([]float32, a.ScratchLen())
		a.Pack(packed, scratch)
		a.Run(packed, scratch, 0, a.NQ)
		whole := slices.Clone(a.Out)
		for range 10 {
			clear(a.Out)
			for q0 := 0; q0 < a.NQ; {
				q1 := min(q0+1+rnd.IntN(20), a.NQ)
				a.Run(packed, scratch, q0, q1)
				q0 = q1
			}
			for q := range a.NQ {
				for i := range a.Dim {
					if at := q*a.LDOut + i; math.Float32bits(a.Out[at]) != math.Float32bits(whole[at]) {
						t.Fatalf("Out[%d,%d] = %v, undivided %v", q, i, a.Out[at], whole[at])
					}
				}
			}
		}
	})
}

// TestBlockedAttentionOfUnlikeScores checks rows whose highest score is in the first block of keys,
// in the last or in none, with scores too far apart for their powers of two, and NaN.
func TestBlockedAttentionOfUnlikeScores(t *testing.T) {
	for _, d := range []DType{F32, BF16} {
		t.Run(d.String(), func(t *testing.T) { unlikeScores(t, d) })
	}
}

func unlikeScores(t *testing.T, d DType) {
	const nk, dim = LongAttention + 300, 4
	within := map[DType]float64{F32: 1e-4, BF16: 0x1p-8}[d]
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(17, 18))
		a, _ := newAttention(t, rnd, 4, nk, dim, false, false)
		a.DType = d
		for k := range nk {
			clear(a.K[k*a.LDK:][:dim])
		}
		clear(a.Q[:dim])                        // row 0: all scores are 0
		a.K[0], a.K[(nk-1)*a.LDK] = 1000, -1000 // of rows 1 and 2 one key is far ahead
		a.Q[a.LDQ], a.Q[2*a.LDQ] = 1, -1
		a.Q[3*a.LDQ] = float32(math.NaN()) // row 3
		for _, q := range []int{1, 2} {
			clear(a.Q[q*a.LDQ+1:][:dim-1])
		}
		a.run(t)
		want, _, _ := a.rounded().reference()
		for q := range 3 {
			for i := range dim {
				if got, want := float64(a.Out[q*a.LDOut+i]), want[q*dim+i]; !(math.Abs(got-want) <= within) {
					t.Errorf("Out[%d,%d] = %v, want %v", q, i, got, want)
				}
			}
		}
		if got := a.Out[3*a.LDOut]; got == got {
			t.Errorf("attention of NaN is %v", got)
		}
	})
}

// TestRunAllocatesNothing covers products too.
func TestRunAllocatesNothing(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(21, 22))
		a, _ := newAttention(t, rnd, 20, 21, 24, true, true)
		packed, scratch := make([]float32, a.PackedLen()), make([]float32, a.ScratchLen())
		long, _ := newAttention(t, rnd, 20, LongAttention, 24, false, false)
		long.DType = BF16
		longPacked, longScratch := make([]float32, long.PackedLen()), make([]float32, long.ScratchLen())
		p := newGuards(t, 1<<12).product(rnd, 20, 50, 9, 4)
		gemmScratch := make([]float32, GemmScratch)
		allocs := testing.AllocsPerRun(5, func() {
			a.Pack(packed, scratch)
			a.Run(packed, scratch, 0, a.NQ)
			long.Pack(longPacked, longScratch)
			long.Run(longPacked, longScratch, 0, long.NQ)
			p.Run(gemmScratch, 0, p.M, 0, p.B.Panels())
		})
		if allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}

func TestAttentionRefusesWhatDoesNotFit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 16))
	tests := map[string]func(a *Attention){
		"no keys":                    func(a *Attention) { a.NK = 0 },
		"no dimension":               func(a *Attention) { a.Dim = 0 },
		"queries too short":          func(a *Attention) { a.Q = a.Q[1:] },
		"keys too short":             func(a *Attention) { a.K = a.K[1:] },
		"values too short":           func(a *Attention) { a.V = a.V[1:] },
		"output too short":           func(a *Attention) { a.Out = a.Out[1:] },
		"bias too short":             func(a *Attention) { a.Bias = a.Bias[1:] },
		"rows of the output overlap": func(a *Attention) { a.LDOut = a.Dim - 1 },
		"column sums too few":        func(a *Attention) { a.ColSum = a.ColSum[1:] },
		"int8":                       func(a *Attention) { a.DType = INT8 },
		"queries not there":          func(a *Attention) { a.NQ++ },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			a, _ := newAttention(t, rnd, 5, 6, 7, true, true)
			packed, scratch := make([]float32, a.PackedLen()), make([]float32, a.ScratchLen())
			spoil(a)
			mustPanic(t, func() {
				a.Pack(packed, scratch)
				a.Run(packed, scratch, 0, a.NQ)
			})
		})
	}
	a, _ := newAttention(t, rnd, 5, 6, 7, false, false)
	packed, scratch := make([]float32, a.PackedLen()), make([]float32, a.ScratchLen())
	mustPanic(t, func() { a.Run(packed[1:], scratch, 0, 5) })
	mustPanic(t, func() { a.Run(packed, scratch[1:], 0, 5) })
	mustPanic(t, func() { a.Run(packed, scratch, 0, 6) })
}

// BenchmarkAttention measures one head including packing.
func BenchmarkAttention(b *testing.B) {
	benchmarkImpls(b, func(b *testing.B) {
		for _, tokens := range []int{64, 256, 1024} {
			for _, dim := range []int{64, 72} {
				b.Run(fmt.Sprintf("tokens=%d/dim=%d", tokens, dim), func(b *testing.B) {
					const heads = 6 // of which one is computed: the others are between its rows
					ld := 3 * heads * dim
					rnd := rand.New(rand.NewPCG(1, 1))
					qkv := randomFloats(rnd, tokens*ld)
					a := Attention{
						Q: qkv, LDQ: ld, NQ: tokens,
						K: qkv[heads*dim:], LDK: ld, V: qkv[2*heads*dim:], LDV: ld, NK: tokens,
						Dim: dim, Scale: float32(1 / math.Sqrt(float64(dim))),
						Out: AlignedFloats(tokens * heads * dim), LDOut: heads * dim,
					}
					packed, scratch := AlignedFloats(a.PackedLen()), AlignedFloats(a.ScratchLen())
					reportOfPeak(b, F32, 4*float64(tokens)*float64(tokens)*float64(dim), func() {
						a.Pack(packed, scratch)
						a.Run(packed, scratch, 0, tokens)
					})
				})
			}
		}
	})
}
