package kernel

import "fmt"

// Epilogue is what a product does to its result before storing it.
type Epilogue int

const (
	EpiloguePlain        Epilogue = iota // nothing
	EpilogueGELU                         // GELU, the tanh form
	EpilogueGateResidual                 // Residual + gate * result
)

// GemmScratch is how many floats of scratch memory Gemm.Run needs.
const GemmScratch = maxRows * maxColumns

// Gemm is the product C = epilogue(A·Bᵀ + Bias).
//
// Every element of C is its bias followed by its K products in the order of k, so neither the size
// of the product nor its division into parts changes a bit of it.
type Gemm struct {
	// A is [M, K], its rows LDA floats apart; rows may overlap. With Taps, row r of A is not
	// contiguous: it is len(Taps) stretches of K/len(Taps) floats each, that of tap t beginning at
	// A[r*LDA+Taps[t]]. A convolution over an image with padding is such a product, with one tap
	// for each contiguous stretch of its window.
	A    []float32
	LDA  int
	M    int
	Taps []int
	// X is in place of A, LDA and Taps if B is not float32. K is B's, for INT8 not more than MaxINT8K.
	X *Converted

	B    *Packed
	Bias []float32 // [N], or nil for zeros

	// Accumulate adds the product and the bias to what C holds. The epilogue must be plain.
	Accumulate bool

	Epilogue Epilogue
	// Gate, [samples, N] with rows LDGate floats apart, and Residual, [M, N] with rows LDResidual
	// floats apart, are for EpilogueGateResidual. Row r takes row RowSample[r] of Gate, or row 0 if
	// RowSample is nil. Residual may be the same memory as C.
	Gate       []float32
	LDGate     int
	RowSample  []int32
	Residual   []float32
	LDResidual int

	C   []float32 // [M, N]
	LDC int
}

// Check panics if the product's fields do not fit each other.
func (g *Gemm) Check() {
	if g.B == nil || g.B.impl == nil {
		panic("kernel: Gemm without a packed matrix")
	}
	n, k := g.B.N, g.B.K
	if g.M < 0 || g.LDA < 0 || len(g.Taps) > 0 && k%len(g.Taps) != 0 {
		panic(fmt.Sprintf("kernel: Gemm of %d rows %d floats apart, %d inputs, %d taps", g.M, g.LDA, k, len(g.Taps)))
	}
	if g.Bias != nil && len(g.Bias) != n {
		panic(fmt.Sprintf("kernel: Gemm with a bias of %d for %d outputs", len(g.Bias), n))
	}
	if g.M == 0 {
		return
	}
	if g.B.dtype != F32 {
		g.checkConverted()
	} else if lowest, highest := g.reach(); lowest < 0 || (g.M-1)*g.LDA+highest > len(g.A) {
		panic(fmt.Sprintf("kernel: Gemm reads floats %d up to %d of an A of %d",
			lowest, (g.M-1)*g.LDA+highest, len(g.A)))
	}
	checkMatrix("C of Gemm", g.C, g.LDC, g.M, n)
	switch g.Epilogue {
	case EpiloguePlain:
		return
	case EpilogueGELU:
	case EpilogueGateResidual:
		checkMatrix("residual of Gemm", g.Residual, g.LDResidual, g.M, n)
		if g.RowSample == nil {
			checkMatrix("gate of Gemm", g.Gate, g.LDGate, 1, n)
		} else if len(g.RowSample) < g.M {
			panic(fmt.Sprintf("kernel: Gemm with the samples of %d of %d rows", len(g.RowSample), g.M))
		}
	default:
		panic(fmt.Sprintf("kernel: Gemm with epilogue %d", g.Epilogue))
	}
	if g.Accumulate {
		panic("kernel: Gemm that accumulates and has an epilogue")
	}
}

// MaxINT8K is the maximum of K for INT8: 255 times 127 times K is below 2^31.
const MaxINT8K = 1 << 15

func (g *Gemm) checkConverted() {
	x := g.X
	if x == nil || x.dtype != g.B.dtype || x.impl != g.B.impl || x.K != g.B.K || x.M < g.M || g.Taps != nil {
		panic(fmt.Sprintf("kernel: Gemm of a matrix of %v without activations converted for it", g.B.dtype))
	}
	if g.B.dtype == INT8 && (g.Accumulate || g.B.K > MaxINT8K) {
		panic(fmt.Sprintf("kernel: Gemm of int8 with %d inputs, accumulating %v", g.B.K, g.Accumulate))
	}
}

// reach returns the range of A that the first row touches.
func (g *Gemm) reach() (lowest, end int) {
	if len(g.Taps) == 0 {
		return 0, g.B.K
	}
	lowest, highest := g.Taps[0], g.Taps[0]
	for _, t := range g.Taps[1:] {
		lowest, highest = min(lowest, t), max(highest, t)
	}
	return lowest, highest + g.B.K/len(g.Taps)
}

// oneTap is the tap of a product without taps.
var oneTap = []int{0}

// Run computes rows row0 up to row1 of the columns of panels panel0 up to panel1. Scratch is
// GemmScratch floats that no other goroutine uses. Parts that do not overlap may run at the same
// time.
func (g *Gemm) Run(scratch []float32, row0, row1, panel0, panel1 int) {
	g.Check()
	if row0 < 0 || row1 > g.M || panel0 < 0 || panel1 > g.B.Panels() {
		panic(fmt.Sprintf("kernel: part [%d:%d, %d:%d] of a Gemm of %d rows and %d panels",
			row0, row1, panel0, panel1, g.M, g.B.Panels()))
	}
	if row0 >= row1 {
		return
	}
	l := g.B.layout
	a, lda, taps := g.A, g.LDA, g.Taps
	if len(taps) == 0 {
		taps = oneTap
	}
	_, reach := g.reach()
	if g.B.dtype != F32 {
		a, lda, reach = g.X.words, g.X.ld, g.X.ld
	}
	steps := l.steps(g.B.K)
	t := tile{lda: lda, k: steps / len(taps), taps: taps, ldc: g.LDC, add: g.Accumulate}
	blocks := (row1 - row0 + l.rows - 1) / l.rows
	for panel := panel0; panel < panel1; panel++ {
		first, cols := g.B.Panel(panel)
		t.setPanel(g.B, panel)
		if g.Bias != nil {
			t.bias = g.Bias[first:][:cols]
		}
		var next []float32
		if panel+1 < panel1 {
			next = g.B.ahead(panel + 1)
		}
		for block := range blocks {
			row, rows := share(row1-row0, blocks, block)
			row += row0
			t.rows = rows
			t.ahead = t.b
			if lines := block * steps * floatsOfLine; lines < len(next) {
				t.ahead = next[lines:]
			}
			t.a = a[row*lda:][:(rows-1)*lda+reach]
			if g.B.dtype == INT8 {
				copy(t.rowScale[:], g.X.scale[row:][:rows])
				copy(t.rowZero[:], g.X.zero[row:][:rows])
			}
			c := g.C[row*g.LDC+first:][:(rows-1)*g.LDC+cols]
			switch g.Epilogue {
			case EpiloguePlain:
				t.c = c
				t.run(l.run)
			case EpilogueGELU:
				result := scratch[:rows*cols]
				t.c, t.ldc = result, cols
				t.run(l.run)
				GELU(result, result)
				for r := range rows {
					copy(c[r*g.LDC:][:cols], result[r*cols:])
				}
			case EpilogueGateResidual:
				t.c = c
				t.residual = g.Residual[row*g.LDResidual+first:][:(rows-1)*g.LDResidual+cols]
				t.ldresidual = g.LDResidual
				for r := range rows {
					sample := 0
					if g.RowSample != nil {
						sample = int(g.RowSample[row+r])
					}
					t.gate[r] = g.Gate[sample*g.LDGate+first:][:cols]
				}
				t.run(l.run)
			}
		}
	}
}
