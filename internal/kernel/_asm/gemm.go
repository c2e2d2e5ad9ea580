package main

import "fmt"

func genGemm(a *asm) {
	avx512Tiles.generate(a)
	avx2Tiles.generate(a)
	genTranspose(a)
	genPeak(a, "AVX512", "Z", 16, 24)
	genPeak(a, "AVX2", "Y", 8, 12)
	a.Func("pause", "", "pause executes the instruction PAUSE.")
	a.P("PAUSE")
	a.P("RET")
}

// A tiles describes the tiles of one instruction set.
//
// Accumulator r*vectors+v holds vector v of row r. Behind the accumulators, registers from b on
// hold the vectors of the panel for one k, and those from x on, used alternately, the element of
// each row, in all lanes.
type tiles struct {
	level   string
	reg     string // of vector registers
	lanes   int
	rows    int // maximum of a tile
	vectors int // maximum of a tile
	unroll  int // of the loop over k
	b       int
	x       []int
	dot     dot // how products are formed
}

var (
	avx512Tiles = tiles{
		level:   "AVX512",
		reg:     "Z",
		lanes:   16,
		rows:    8,
		vectors: 3,
		unroll:  4,
		b:       24,
		x:       []int{27, 28, 29, 30, 31},
	}
	avx2Tiles = tiles{level: "AVX2", reg: "Y", lanes: 8, rows: 6, vectors: 2, unroll: 4, b: 12, x: []int{14, 15}}
)

const tileDoc = `%[1]s computes a tile of 1 to %[2]d rows by 1 to %[3]d vectors of %[4]d columns. It equals, each multiplication being
fused with the addition that follows it,

	width := t.vectors * %[4]d
	for r := range t.rows {
		for j := range width - %[4]d + t.tail {
			var sum float32
			if t.bias != nil {
				sum = t.bias[j]
			}
			if t.add {
				sum += t.c[r*t.ldc+j]
			}
			b := t.b
			for _, tap := range t.taps {
				for k := range t.k {
					sum += t.a[r*t.lda+tap+k] * b[k*width+j]
				}
				b = b[t.k*width:]
			}
			if t.residual != nil {
				sum = t.residual[r*t.ldresidual+j] + t.gate[r][j]*sum
			}
			t.c[r*t.ldc+j] = sum
		}
	}`

func (ts *tiles) generate(a *asm) {
	name := "tile" + ts.level
	a.Func(name, "t *tile", fmt.Sprintf(tileDoc, name, ts.rows, ts.vectors, ts.lanes))
	ts.body(a)
}

// body writes the function after its header.
func (ts *tiles) body(a *asm) {
	a.P("MOVQ %s, DI", a.Param("t"))
	a.P("MOVQ tile_a(DI), AX")
	a.P("MOVQ tile_lda(DI), R8")
	a.P("SHLQ $2, R8")
	a.P("LEAQ (R8)(R8*2), R9")
	a.P("MOVQ tile_b(DI), DX")
	a.P("MOVQ tile_c(DI), R10")
	a.P("MOVQ tile_ldc(DI), R11")
	a.P("SHLQ $2, R11")
	a.P("MOVQ tile_ahead(DI), R14")
	a.P("MOVQ tile_taps(DI), R12")
	a.P("MOVQ tile_taps+8(DI), R13")
	ts.loadMask(a)
	a.P("MOVQ tile_vectors(DI), BX")
	a.P("MOVQ tile_rows(DI), CX")
	for v := ts.vectors; v > 1; v-- {
		a.P("CMPQ BX, $%d", v)
		a.P("JEQ vectors%d", v)
	}
	for v := 1; v <= ts.vectors; v++ {
		if v > 1 {
			a.Label("vectors%d", v)
		}
		for r := ts.rows; r > 1; r-- {
			a.P("CMPQ CX, $%d", r)
			a.P("JEQ tile%dx%d", r, v)
		}
		for r := 1; r <= ts.rows; r++ {
			if r > 1 {
				a.Label("tile%dx%d", r, v)
			}
			(&tileBody{ts, a, r, v, fmt.Sprintf("%dx%d", r, v)}).generate()
		}
	}
}

// loadMask makes K1 the mask of the columns of the last vector. AVX2 has no mask registers: see
// maskYMM.
func (ts *tiles) loadMask(a *asm) {
	if ts.reg != "Z" {
		return
	}
	a.P("MOVQ tile_tail(DI), CX")
	a.P("MOVL $1, BX")
	a.P("SHLL CX, BX")
	a.P("DECL BX")
	a.P("KMOVW BX, K1")
}

// A tileBody is the code of the tile of one size.
type tileBody struct {
	*tiles
	*asm
	rows, vectors int
	name          string
}

func (t *tileBody) reg(i int) string         { return fmt.Sprintf("%s%d", t.tiles.reg, i) }
func (t *tileBody) sum(r, v int) string      { return t.reg(r*t.vectors + v) }
func (t *tileBody) last(v int) bool          { return v == t.vectors-1 }
func (t *tileBody) columns(v int) int        { return v * t.lanes * 4 } // in bytes
func (t *tileBody) label(part string) string { return part + t.name }

func (t *tileBody) generate() {
	t.start()
	t.product()
	t.finish()
}

// start sets the sums to the bias, and adds C if asked to.
func (t *tileBody) start() {
	if t.dot.integer {
		for i := range t.rows * t.vectors {
			t.P("VPXOR%[2]s %[1]s, %[1]s, %[1]s", t.reg(i), t.dotSuffix())
		}
		t.prefetchC()
		return
	}
	t.maskYMM()
	t.P("MOVQ tile_bias(DI), CX")
	t.P("TESTQ CX, CX")
	t.P("JEQ %s", t.label("unbiased"))
	for v := range t.vectors {
		t.load("CX", v, t.sum(0, v))
	}
	for r := 1; r < t.rows; r++ {
		for v := range t.vectors {
			t.P("VMOVAPS %s, %s", t.sum(0, v), t.sum(r, v))
		}
	}
	t.P("JMP %s", t.label("started"))
	t.Label("%s", t.label("unbiased"))
	for i := range t.rows * t.vectors {
		t.P("VXORPS %[1]s, %[1]s, %[1]s", t.reg(i))
	}
	t.Label("%s", t.label("started"))
	t.prefetchC()
	t.P("CMPB tile_add(DI), $0")
	t.P("JEQ %s", t.label(t.begun()))
	t.P("MOVQ R10, CX")
	for r := range t.rows {
		for v := range t.vectors {
			t.load("CX", v, t.reg(t.b))
			t.P("VADDPS %s, %s, %s", t.reg(t.b), t.sum(r, v), t.sum(r, v))
		}
		if r+1 < t.rows {
			t.P("ADDQ R11, CX")
		}
	}
}

// prefetchC has the lines of C on their way while the product is computed.
func (t *tileBody) prefetchC() {
	t.P("MOVQ R10, CX")
	for r := range t.rows {
		for at := 0; at < t.columns(t.vectors); at += 64 {
			t.P("PREFETCHT0 %d(CX)", at)
		}
		if r+1 < t.rows {
			t.P("ADDQ R11, CX")
		}
	}
}

// product adds the products of all taps to the sums.
func (t *tileBody) product() {
	t.loadDotMask()
	t.P("PCALIGN $16")
	t.Label("%s", t.label("taps"))
	t.P("MOVQ (R12), SI")
	t.P("ADDQ $8, R12")
	t.P("LEAQ (AX)(SI*4), SI")
	if t.rows > 4 {
		t.P("LEAQ (SI)(R8*4), BX")
	}
	t.P("MOVQ tile_k(DI), CX")
	t.P("SUBQ $%d, CX", t.unroll)
	t.P("JLT %s", t.label("rest"))
	t.P("PCALIGN $32")
	t.Label("%s", t.label("loop"))
	for k := range t.unroll {
		t.step(k)
	}
	t.advance(t.unroll)
	t.P("SUBQ $%d, CX", t.unroll)
	t.P("JGE %s", t.label("loop"))
	t.Label("%s", t.label("rest"))
	t.P("ADDQ $%d, CX", t.unroll)
	t.P("JEQ %s", t.label("tapped"))
	t.Label("%s", t.label("single"))
	t.step(0)
	t.advance(1)
	t.P("DECQ CX")
	t.P("JNE %s", t.label("single"))
	t.Label("%s", t.label("tapped"))
	t.P("DECQ R13")
	t.P("JNE %s", t.label("taps"))
}

// step adds the products of one k and brings another line of what the tile was told to fetch ahead.
func (t *tileBody) step(k int) {
	t.P("PREFETCHT1 %d(R14)", 64*k)
	if t.dot.step != nil {
		t.dot.step(t, k)
		return
	}
	for v := range t.vectors {
		t.P("VMOVUPS %d(DX), %s", t.columns(k*t.vectors+v), t.reg(t.b+v))
	}
	for r := range t.rows {
		x := t.reg(t.x[r%len(t.x)])
		t.P("VBROADCASTSS %s, %s", t.element(r, k), x)
		for v := range t.vectors {
			t.P("VFMADD231PS %s, %s, %s", x, t.reg(t.b+v), t.sum(r, v))
		}
	}
}

// element is the operand of an element of a row of A: R8 and R9 are one and three times the
// distance of rows.
func (t *tileBody) element(r, k int) string {
	base := [...]string{"SI", "BX"}[r/4]
	index := [...]string{"", "(R8*1)", "(R8*2)", "(R9*1)"}[r%4]
	return fmt.Sprintf("%d(%s)%s", 4*k, base, index)
}

func (t *tileBody) advance(k int) {
	t.P("ADDQ $%d, DX", t.panelBytes(k*t.vectors))
	t.P("ADDQ $%d, SI", 4*k*t.words())
	t.P("ADDQ $%d, R14", 64*k)
	if t.rows > 4 {
		t.P("ADDQ $%d, BX", 4*k*t.words())
	}
}

// finish gates the sums and adds the residual if asked to, and stores them.
func (t *tileBody) finish() {
	t.maskYMM()
	if t.dot.integer {
		t.dequantise()
	}
	t.P("MOVQ tile_residual(DI), CX")
	t.P("TESTQ CX, CX")
	t.P("JEQ %s", t.label("store"))
	t.P("MOVQ tile_ldresidual(DI), BX")
	gate, residual := t.reg(t.b), t.reg(t.b+1)
	for r := range t.rows {
		t.P("MOVQ tile_gate+%d(DI), SI", 24*r)
		for v := range t.vectors {
			t.load("SI", v, gate)
			t.load("CX", v, residual)
			t.P("VFMADD213PS %s, %s, %s", residual, gate, t.sum(r, v))
		}
		if r+1 < t.rows {
			t.P("LEAQ (CX)(BX*4), CX")
		}
	}
	t.Label("%s", t.label("store"))
	if t.tiles.reg == "Y" {
		t.P("CMPQ tile_tail(DI), $%d", t.lanes)
		t.P("JNE %s", t.label("partial"))
		t.store(false)
		t.Ret()
		t.Label("%s", t.label("partial"))
	}
	t.store(true)
	t.Ret()
}

// store stores the sums, the last vector whole or in part.
func (t *tileBody) store(partial bool) {
	for r := range t.rows {
		for v := range t.vectors {
			to := fmt.Sprintf("%d(R10)", t.columns(v))
			switch {
			case !t.last(v) || !partial:
				t.P("VMOVUPS %s, %s", t.sum(r, v), to)
			case t.tiles.reg == "Z":
				t.P("VMOVUPS %s, K1, %s", t.sum(r, v), to)
			default:
				t.P("VMASKMOVPS %s, Y15, %s", t.sum(r, v), to)
			}
		}
		if r+1 < t.rows {
			t.P("ADDQ R11, R10")
		}
	}
}

// load loads vector v from memory that has no padding: its last vector in part.
func (t *tileBody) load(base string, v int, to string) {
	from := fmt.Sprintf("%d(%s)", t.columns(v), base)
	switch {
	case !t.last(v):
		t.P("VMOVUPS %s, %s", from, to)
	case t.tiles.reg == "Z":
		t.P("VMOVUPS.Z %s, K1, %s", from, to)
	default:
		t.P("VMASKMOVPS %s, Y15, %s", from, to)
	}
}

// maskYMM makes Y15 the mask of the columns of the last vector, where there are no mask registers.
func (t *tileBody) maskYMM() {
	if t.tiles.reg == "Z" {
		return
	}
	t.P("VPBROADCASTD tile_tail(DI), Y15")
	t.P("VPCMPGTD %s, Y15, Y15", t.Table("lane", []uint32{0, 1, 2, 3, 4, 5, 6, 7}))
}

func genTranspose(a *asm) {
	a.Func("transposeAVX2", "dst *float32, ldd int, src *float32, lds int, rows int, cols int", `
transposeAVX2 transposes a matrix whose rows and cols are positive multiples of 8. It equals

	for r := range rows {
		for c := range cols {
			dst[c*ldd+r] = src[r*lds+c]
		}
	}`)
	a.P("MOVQ %s, DI", a.Param("dst"))
	a.P("MOVQ %s, R8", a.Param("ldd"))
	a.P("MOVQ %s, SI", a.Param("src"))
	a.P("MOVQ %s, R10", a.Param("lds"))
	a.P("MOVQ %s, R12", a.Param("rows"))
	for _, r := range [][2]string{{"R8", "R9"}, {"R10", "R11"}} {
		a.P("SHLQ $2, %s", r[0])
		a.P("LEAQ (%[1]s)(%[1]s*2), %[2]s", r[0], r[1])
	}
	a.Label("strip")
	a.P("MOVQ SI, AX")
	a.P("MOVQ DI, DX")
	a.P("MOVQ %s, CX", a.Param("cols"))
	a.Label("square")
	row := func(base string, far string, by, thrice string, i int) string {
		if i >= 4 {
			base = far
		}
		return "(" + base + ")" + [...]string{"", "(" + by + "*1)", "(" + by + "*2)", "(" + thrice + "*1)"}[i%4]
	}
	a.P("LEAQ (AX)(R10*4), BX")
	a.P("LEAQ (DX)(R8*4), R13")
	// Rows i and i+4 share a register, so that one pass of unpacking and one of shuffling finish
	// four columns of both.
	for half := range 2 {
		for i := range 4 {
			a.P("VMOVUPS %d%s, X%d", 16*half, row("AX", "BX", "R10", "R11", i), i)
			a.P("VINSERTF128 $1, %d%s, Y%d, Y%d", 16*half, row("AX", "BX", "R10", "R11", i+4), i, i)
		}
		a.P("VUNPCKLPS Y1, Y0, Y4")
		a.P("VUNPCKHPS Y1, Y0, Y5")
		a.P("VUNPCKLPS Y3, Y2, Y6")
		a.P("VUNPCKHPS Y3, Y2, Y7")
		a.P("VUNPCKLPD Y6, Y4, Y8")
		a.P("VUNPCKHPD Y6, Y4, Y9")
		a.P("VUNPCKLPD Y7, Y5, Y10")
		a.P("VUNPCKHPD Y7, Y5, Y11")
		for i := range 4 {
			a.P("VMOVUPS Y%d, %s", 8+i, row("DX", "R13", "R8", "R9", 4*half+i))
		}
	}
	a.P("ADDQ $32, AX")
	a.P("LEAQ (DX)(R8*8), DX")
	a.P("SUBQ $8, CX")
	a.P("JNE square")
	a.P("LEAQ (SI)(R10*8), SI")
	a.P("ADDQ $32, DI")
	a.P("SUBQ $8, R12")
	a.P("JNE strip")
	a.Ret()
}

// genPeak writes a loop of fused multiply-adds of floats.
func genPeak(a *asm, level, reg string, lanes, registers int) {
	genPeakOf(a, "peak"+level, fmt.Sprintf("multiply-adds of %d floats", lanes), reg, registers, lanes, func(i int) {
		a.P("VFMADD231PS %[1]s%[2]d, %[1]s%[3]d, %[1]s%[4]d", reg, registers, registers+1, i)
	})
}

// genPeakOf writes a loop of independent operations, four on each of a number of registers in a
// round. Each is as many multiply-adds as a vector has elements; two registers more are zeros.
func genPeakOf(a *asm, name, what, reg string, registers, elements int, op func(register int)) {
	const each = 4
	a.Func(name, "rounds int) (flops int", fmt.Sprintf(`
%s executes rounds of %d %s and returns the operations in a round.`, name, each*registers, what))
	for i := range registers + 2 {
		a.P("VXORPS %[1]s%[2]d, %[1]s%[2]d, %[1]s%[2]d", reg, i)
	}
	a.P("MOVQ $%d, AX", 2*each*registers*elements)
	a.P("MOVQ AX, %s", a.Param("flops"))
	a.P("MOVQ %s, CX", a.Param("rounds"))
	a.P("TESTQ CX, CX")
	a.P("JLE done")
	a.P("PCALIGN $32")
	a.Label("loop")
	for range each {
		for i := range registers {
			op(i)
		}
	}
	a.P("DECQ CX")
	a.P("JNE loop")
	a.Label("done")
	a.Ret()
}
