package main

import "fmt"

// genNEONGemm writes the products of float32, and what goes with them.
func genNEONGemm(a *asm) {
	a.Func("tileNEON", "t *tile", fmt.Sprintf(tileDoc, "tileNEON", neonF32.rows, neonVectors, neonLanes)+
		"\n\nThe last vector is whole: t.tail is 4.")
	neonF32.body(a)
	genNEONTranspose(a)
	genNEONPeak(a, "peakNEON", "multiply-adds of 4 floats", 4, func(i int) { a.V(fmla, i, 30, 31) })
	a.Func("pause", "", "pause executes the instruction YIELD.")
	a.P("YIELD")
	a.P("RET")
}

const (
	neonLanes   = 4
	neonVectors = 3 // maximum of a tile
)

// A neonTiles describes the tiles of one number format. A step of the loop over k takes words of
// each row of A, from consecutive memory, and column bytes of each column of the panel.
//
// Registers from 0 on hold A, those from sums on the sums, row after row, and those from panel on
// vectors of the panel. R0 is the tile, R1 A, R2 the distance of its rows, R3 the panel, R4 C, R5
// the distance of its rows, R6 what to fetch ahead, R7 and R8 the taps left, R17 the steps left, and
// R9 to R16 the rows of A. R19 to R22 are for everything else.
type neonTiles struct {
	rows    int // maximum of a tile
	words   int // of a row of A in a step
	column  int // bytes of a column of the panel in a step
	paired  bool
	integer bool // sums are int32, to be scaled at the end
	signed  bool // integers of A are less by 128 than what the zero point counts from
	mask    bool // register 31 is the mask of the upper half of each word
	// step multiplies; a is the word or pair of words of each register of A.
	step func(t *neonTile, k, a int)
}

const neonSums, neonPanel = 7, 28

var neonF32 = neonTiles{rows: 7, words: 1, column: 4, step: stepNEONF32}

// unroll is how many steps a register of A holds.
func (ts *neonTiles) unroll() int { return 4 / ts.words }

func (ts *neonTiles) body(a *asm) {
	a.P("MOVD %s, R0", a.Param("t"))
	a.P("MOVD tile_a(R0), R1")
	a.P("MOVD tile_lda(R0), R2")
	a.P("LSL $2, R2, R2")
	a.P("MOVD tile_b(R0), R3")
	a.P("MOVD tile_c(R0), R4")
	a.P("MOVD tile_ldc(R0), R5")
	a.P("LSL $2, R5, R5")
	a.P("MOVD tile_ahead(R0), R6")
	a.P("MOVD tile_taps(R0), R7")
	a.P("MOVD tile_taps+8(R0), R8")
	a.P("MOVD tile_vectors(R0), R19")
	a.P("MOVD tile_rows(R0), R20")
	if ts.mask {
		a.VFill(31, 0xffff0000, "R21")
	}
	for v := neonVectors; v > 1; v-- {
		a.P("CMP $%d, R19", v)
		a.P("BEQ vectors%d", v)
	}
	for v := 1; v <= neonVectors; v++ {
		if v > 1 {
			a.Label("vectors%d", v)
		}
		for r := ts.rows; r > 1; r-- {
			a.P("CMP $%d, R20", r)
			a.P("BEQ tile%dx%d", r, v)
		}
		for r := 1; r <= ts.rows; r++ {
			if r > 1 {
				a.Label("tile%dx%d", r, v)
			}
			(&neonTile{ts, a, r, v, fmt.Sprintf("%dx%d", r, v)}).generate()
		}
	}
}

// A neonTile is the code of the tile of one size.
type neonTile struct {
	*neonTiles
	*asm
	rows, vectors int
	name          string
}

func (t *neonTile) label(part string) string { return part + t.name }

// sum is the register of a vector of sums.
func (t *neonTile) sum(r, v int) int {
	first := neonSums
	if t.paired {
		first = t.neonTiles.rows / 2
	}
	return first + r*t.vectors + v
}

// sumRows is the number of rows of sums: for pairs of rows, an even one.
func (t *neonTile) sumRows() int {
	if t.paired {
		return align(t.rows, 2)
	}
	return t.rows
}

func (t *neonTile) row(r int) string { return fmt.Sprintf("R%d", 9+r) }

// load loads a vector from the memory that a general register points to.
func (t *neonTile) load(v int, base string, to int) { t.P("FMOVQ %d(%s), F%d", 16*v, base, to) }

func (t *neonTile) generate() {
	t.start()
	t.product()
	t.finish()
}

// start sets the sums to the bias, and adds C if asked to.
func (t *neonTile) start() {
	t.prefetchC()
	if t.integer {
		t.zero(0)
		return
	}
	t.P("MOVD tile_bias(R0), R19")
	t.P("CBZ R19, %s", t.label("unbiased"))
	for v := range t.vectors {
		t.load(v, "R19", t.sum(0, v))
	}
	for r := 1; r < t.rows; r++ {
		for v := range t.vectors {
			t.VMove(t.sum(r, v), t.sum(0, v))
		}
	}
	t.P("B %s", t.label("started"))
	t.Label("%s", t.label("unbiased"))
	t.zero(0)
	t.Label("%s", t.label("started"))
	t.zero(t.rows)
	t.P("MOVBU tile_add(R0), R19")
	t.P("CBZ R19, %s", t.label("begun"))
	t.P("MOVD R4, R19")
	for r := range t.rows {
		for v := range t.vectors {
			t.load(v, "R19", neonPanel)
			t.V(fadd, t.sum(r, v), t.sum(r, v), neonPanel)
		}
		if r+1 < t.rows {
			t.P("ADD R5, R19")
		}
	}
	t.Label("%s", t.label("begun"))
	t.pair()
}

// zero clears the sums of rows from the given one on.
func (t *neonTile) zero(from int) {
	for r := from; r < t.sumRows(); r++ {
		for v := range t.vectors {
			t.VZero(t.sum(r, v))
		}
	}
}

// prefetchC has C on its way while the product is computed.
func (t *neonTile) prefetchC() {
	t.P("MOVD R4, R19")
	for r := range t.rows {
		t.P("PRFM (R19), PSTL1KEEP")
		if r+1 < t.rows {
			t.P("ADD R5, R19")
		}
	}
}

// product adds the products of all taps to the sums.
func (t *neonTile) product() {
	t.P("PCALIGN $16")
	t.Label("%s", t.label("taps"))
	t.P("MOVD.P 8(R7), R19")
	t.P("ADD R19<<2, R1, %s", t.row(0))
	for r := 1; r < t.rows; r++ {
		t.P("ADD R2, %s, %s", t.row(r-1), t.row(r))
	}
	t.P("MOVD tile_k(R0), R17")
	t.P("SUBS $%d, R17", t.unroll())
	t.P("BLT %s", t.label("rest"))
	t.P("PCALIGN $16")
	t.Label("%s", t.label("loop"))
	if !t.paired {
		for r := range t.rows {
			t.P("FMOVQ.P 16(%s), F%d", t.row(r), r)
		}
	}
	for k := range t.unroll() {
		if t.paired {
			t.loadPairs()
		}
		t.P("PRFM %d(R6), PLDL2KEEP", 64*k)
		t.step(t, k, k)
	}
	t.advance(t.unroll())
	t.P("SUBS $%d, R17", t.unroll())
	t.P("BGE %s", t.label("loop"))
	t.Label("%s", t.label("rest"))
	t.P("ADDS $%d, R17", t.unroll())
	t.P("BEQ %s", t.label("tapped"))
	t.Label("%s", t.label("single"))
	switch {
	case t.paired:
		t.loadPairs()
	default:
		for r := range t.rows {
			t.P("%s.P %d(%s), F%d", [...]string{1: "FMOVS", 2: "FMOVD"}[t.words], 4*t.words, t.row(r), r)
		}
	}
	t.step(t, 0, 0)
	t.advance(1)
	t.P("SUBS $1, R17")
	t.P("BNE %s", t.label("single"))
	t.Label("%s", t.label("tapped"))
	t.P("SUBS $1, R8")
	t.P("BNE %s", t.label("taps"))
}

func (t *neonTile) advance(steps int) {
	t.P("ADD $%d, R3", t.vectorBytes()*t.vectors*steps)
	t.P("ADD $%d, R6", 64*steps)
}

// vectorBytes is the size of a vector of the panel in a step.
func (t *neonTile) vectorBytes() int { return neonLanes * t.column }

// loadVector loads vector v of step k of the panel, of 8 bytes or part of it of 16.
func (t *neonTile) loadVector(k, v, part, to int) {
	name := "FMOVQ"
	if t.vectorBytes() == 8 {
		name = "FMOVD"
	}
	t.P("%s %d(R3), F%d", name, (k*t.vectors+v)*t.vectorBytes()+16*part, to)
}

func stepNEONF32(t *neonTile, k, a int) {
	for v := range t.vectors {
		t.loadVector(k, v, 0, neonPanel+v)
	}
	for r := range t.rows {
		for v := range t.vectors {
			t.VE(fmlaElement, t.sum(r, v), neonPanel+v, r, a)
		}
	}
}

// finish gates the sums and adds the residual if asked to, and stores them.
func (t *neonTile) finish() {
	t.pair()
	if t.integer {
		t.dequantise()
	}
	t.P("MOVD tile_residual(R0), R19")
	t.P("CBZ R19, %s", t.label("store"))
	t.P("MOVD tile_ldresidual(R0), R20")
	gate, result := neonPanel, neonPanel+1
	for r := range t.rows {
		t.P("MOVD tile_gate+%d(R0), R21", 24*r)
		for v := range t.vectors {
			t.load(v, "R21", gate)
			t.load(v, "R19", result)
			t.V(fmla, result, t.sum(r, v), gate)
			t.VMove(t.sum(r, v), result)
		}
		if r+1 < t.rows {
			t.P("ADD R20<<2, R19")
		}
	}
	t.Label("%s", t.label("store"))
	for r := range t.rows {
		for v := range t.vectors {
			t.P("FMOVQ F%d, %d(R4)", t.sum(r, v), 16*v)
		}
		if r+1 < t.rows {
			t.P("ADD R5, R4")
		}
	}
	t.P("RET")
}

// genNEONPeak writes a loop of one instruction on 24 registers.
func genNEONPeak(a *asm, name, what string, multiplyAdds int, instruction func(i int)) {
	const sums = 24
	a.Func(name, "rounds int) (flops int", fmt.Sprintf(
		"%s executes rounds of %d independent %s and returns the operations of a round.", name, sums, what))
	a.P("MOVD %s, R0", a.Param("rounds"))
	for i := range 32 {
		a.VZero(i)
	}
	a.P("PCALIGN $16")
	a.Label("loop")
	for i := range sums {
		instruction(i)
	}
	a.P("SUBS $1, R0")
	a.P("BGT loop")
	a.P("MOVD $%d, R0", 2*multiplyAdds*sums)
	a.P("MOVD R0, %s", a.Param("flops"))
	a.P("RET")
}

func genNEONTranspose(a *asm) {
	a.Func("transposeNEON", "dst *float32, ldd int, src *float32, lds int, rows int, cols int", `
transposeNEON transposes a matrix whose rows and cols are positive multiples of 4. It equals

	for r := range rows {
		for c := range cols {
			dst[c*ldd+r] = src[r*lds+c]
		}
	}`)
	for i, name := range []string{"dst", "ldd", "src", "lds", "rows"} {
		a.P("MOVD %s, R%d", a.Param(name), i)
	}
	a.P("LSL $2, R1, R1")
	a.P("LSL $2, R3, R3")
	a.Label("strip") // four rows
	a.P("MOVD %s, R5", a.Param("cols"))
	a.P("MOVD R0, R6")
	a.P("MOVD R2, R7")
	a.Label("square")
	a.P("MOVD R7, R8")
	for i := range 4 {
		a.P("FMOVQ (R8), F%d", i)
		a.P("ADD R3, R8")
	}
	for i := range 2 {
		a.V(trn1, 4+i, 2*i, 2*i+1)
		a.V(trn2, 6+i, 2*i, 2*i+1)
	}
	a.V(zip1, 0, 4, 5)
	a.V(zip1, 1, 6, 7)
	a.V(zip2, 2, 4, 5)
	a.V(zip2, 3, 6, 7)
	for i := range 4 {
		a.P("FMOVQ F%d, (R6)", i)
		a.P("ADD R1, R6")
	}
	a.P("ADD $16, R7")
	a.P("SUBS $4, R5")
	a.P("BNE square")
	a.P("ADD $16, R0")
	a.P("ADD R3<<2, R2")
	a.P("SUBS $4, R4")
	a.P("BNE strip")
	a.P("RET")
}
