package main

import "fmt"

// A dot is how a tile forms products of operands narrower than float32. A step of its loop takes
// one 4-byte word of panel for each column, or half of one, and a word or two of each row of A.
type dot struct {
	name    string
	doc     string // the loop that a step equals
	words   int    // of a row of A in a step
	column  int    // bytes of a column of the panel in a step
	integer bool   // sums are int32, to be scaled at the end
	masked  bool   // the last of registers x holds the mask of the upper half of each word
	step    func(t *tileBody, k int)
}

const (
	bf16Doc = `
	for k := range 2 * t.k { // a and b being what the bfloat16 numbers stand for
		sum += a[k] * b[k]
	}`
	int8Doc = `
	for k := range %d * t.k { // a being unsigned, b signed
		sum += int32(a[k]) * int32(b[k])
	}`
)

var (
	bf16Dot  = dot{name: "BF16Dot", doc: bf16Doc, words: 1, column: 4, step: stepBF16Dot}
	bf16Wide = dot{name: "BF16", doc: bf16Doc, words: 2, column: 4, masked: true, step: stepBF16Wide}
	int8Dot  = dot{name: "INT8Dot", doc: fmt.Sprintf(int8Doc, 4), words: 1, column: 4, integer: true, step: stepINT8Dot}
	int8Wide = dot{name: "INT8", doc: fmt.Sprintf(int8Doc, 2), words: 1, column: 2, integer: true, step: stepINT8Wide}
)

// genNarrow writes products of bfloat16 and int8, and the conversion of activations to them.
func genNarrow(a *asm) {
	for _, set := range []struct {
		tiles
		dots []dot
	}{
		{avx512Tiles, []dot{bf16Dot, bf16Wide, int8Dot, int8Wide}},
		{avx2Tiles, []dot{bf16Wide, int8Wide}},
	} {
		for _, d := range set.dots {
			ts := set.tiles
			ts.dot = d
			name := "tile" + d.name + ts.level
			doc := name + fmt.Sprintf(" is tile%s with the following inner loop, t.k counting its steps:\n", ts.level) + d.doc
			if d.integer {
				doc += `

A sum becomes float32(sum-t.rowZero[r]*t.sums[j])*t.rowScale[r]*t.scale[j] + t.bias[j], rounded
after each operation, before gate and residual. C is not added.`
			}
			a.Func(name, "t *tile", doc)
			ts.body(a)
		}
	}
	genNarrowPeaks(a)
	for _, set := range []simd{{"AVX512", "Z", 16}, {"AVX2", "Y", 8}} {
		c := converter{a, set}
		c.extremes()
		c.round()
		c.pairs()
		c.quantise()
	}
}

func (t *tileBody) words() int { return max(1, t.dot.words) }

// panelBytes is the size of vectors of a panel for one step.
func (t *tileBody) panelBytes(vectors int) int {
	if t.dot.step == nil {
		return t.columns(vectors)
	}
	return vectors * t.lanes * t.dot.column
}

// dotSuffix ends the names of instructions that have another one under EVEX.
func (t *tileBody) dotSuffix() string {
	if t.tiles.reg == "Z" {
		return "D"
	}
	return ""
}

func (t *tileBody) dotMask() string { return t.reg(t.x[len(t.x)-1]) }

// begun is the label behind start.
func (t *tileBody) begun() string {
	if t.dot.masked {
		return "masked"
	}
	return "taps"
}

func (t *tileBody) loadDotMask() {
	if t.dot.masked {
		t.Label("%s", t.label(t.begun()))
		t.P("VPBROADCASTD %s, %s", t.U32(0xffff0000), t.dotMask())
	}
}

// stepBF16Dot multiplies pairs: VDPBF16PS, which the assembler does not know.
func stepBF16Dot(t *tileBody, k int) {
	for v := range t.vectors {
		t.P("VMOVUPS %d(DX), %s", t.panelBytes(k*t.vectors+v), t.reg(t.b+v))
	}
	for r := range t.rows {
		x := t.x[r%len(t.x)]
		t.P("VBROADCASTSS %s, %s", t.element(r, k), t.reg(x))
		for v := range t.vectors {
			t.vdpbf16ps(x, t.b+v, r*t.vectors+v)
		}
	}
}

// vdpbf16ps prints VDPBF16PS Zx, Zb, Zsum: EVEX.512.F3.0F38.W0 52 /r. A register's number is
// inverted in the prefix, bit 4 and bit 3 of it in places of their own.
func (a *asm) vdpbf16ps(x, b, sum int) {
	not := func(n, bit int) int { return n>>bit&1 ^ 1 }
	p0 := not(sum, 3)<<7 | not(x, 4)<<6 | not(x, 3)<<5 | not(sum, 4)<<4 | 2
	p1 := (^b&15)<<3 | 1<<2 | 2
	p2 := 2<<5 | not(b, 4)<<3
	modrm := 3<<6 | sum&7<<3 | x&7
	a.P("LONG $0x%02x%02x%02x62; WORD $0x%02x52 // VDPBF16PS Z%d, Z%d, Z%d", p2, p1, p0, modrm, x, b, sum)
}

// stepBF16Wide multiplies pairs as floats: the lower halves of the panel's words, then the upper
// ones. Their products are exact.
func stepBF16Wide(t *tileBody, k int) {
	for half := range 2 {
		for v := range t.vectors {
			from, b := fmt.Sprintf("%d(DX)", t.panelBytes(k*t.vectors+v)), t.reg(t.b+v)
			switch {
			case half == 1:
				t.P("VPAND%s %s, %s, %s", t.dotSuffix(), from, t.dotMask(), b)
			case t.tiles.reg == "Z":
				t.P("VPSLLD $16, %s, %s", from, b)
			default:
				t.P("VMOVUPS %s, %s", from, b)
				t.P("VPSLLD $16, %[1]s, %[1]s", b)
			}
		}
		for r := range t.rows {
			x := t.reg(t.x[r%(len(t.x)-1)])
			t.P("VBROADCASTSS %s, %s", t.element(r, 2*k+half), x)
			for v := range t.vectors {
				t.P("VFMADD231PS %s, %s, %s", x, t.reg(t.b+v), t.sum(r, v))
			}
		}
	}
}

func stepINT8Dot(t *tileBody, k int) {
	for v := range t.vectors {
		t.P("VMOVUPS %d(DX), %s", t.panelBytes(k*t.vectors+v), t.reg(t.b+v))
	}
	for r := range t.rows {
		x := t.reg(t.x[r%len(t.x)])
		t.P("VPBROADCASTD %s, %s", t.element(r, k), x)
		for v := range t.vectors {
			t.P("VPDPBUSD %s, %s, %s", t.reg(t.b+v), x, t.sum(r, v))
		}
	}
}

// stepINT8Wide multiplies pairs of 16 bits, whose sums cannot saturate as those of VPMADDUBSW
// would.
func stepINT8Wide(t *tileBody, k int) {
	for v := range t.vectors {
		t.P("VPMOVSXBW %d(DX), %s", t.panelBytes(k*t.vectors+v), t.reg(t.b+v))
	}
	for r := range t.rows {
		x := t.reg(t.x[r%(len(t.x)/2)])
		t.P("VPBROADCASTD %s, %s", t.element(r, k), x)
		for v := range t.vectors {
			product := t.reg(t.x[len(t.x)/2+v%(len(t.x)-len(t.x)/2)])
			t.P("VPMADDWD %s, %s, %s", t.reg(t.b+v), x, product)
			t.P("VPADDD %s, %[2]s, %[2]s", product, t.sum(r, v))
		}
	}
}

// dequantise makes floats of the sums.
func (t *tileBody) dequantise() {
	t.P("MOVQ tile_scale(DI), SI")
	t.P("MOVQ tile_sums(DI), BX")
	scale, zero, offset := t.reg(t.b), t.reg(t.b+1), t.reg(t.b+2)
	for r := range t.rows {
		t.P("VBROADCASTSS tile_rowScale+%d(DI), %s", 4*r, scale)
		t.P("VPBROADCASTD tile_rowZero+%d(DI), %s", 4*r, zero)
		for v := range t.vectors {
			sum := t.sum(r, v)
			t.P("VPMULLD %d(BX), %s, %s", t.columns(v), zero, offset)
			t.P("VPSUBD %s, %[2]s, %[2]s", offset, sum)
			t.P("VCVTDQ2PS %[1]s, %[1]s", sum)
			t.P("VMULPS %s, %[2]s, %[2]s", scale, sum)
			t.P("VMULPS %d(SI), %[2]s, %[2]s", t.columns(v), sum)
		}
	}
	t.P("MOVQ tile_bias(DI), CX")
	t.P("TESTQ CX, CX")
	t.P("JEQ %s", t.label("dequantised"))
	for v := range t.vectors {
		bias := t.reg(t.b)
		t.load("CX", v, bias)
		for r := range t.rows {
			t.P("VADDPS %s, %[2]s, %[2]s", bias, t.sum(r, v))
		}
	}
	t.Label("%s", t.label("dequantised"))
}

// genNarrowPeaks writes loops of the instructions that the products consist of.
func genNarrowPeaks(a *asm) {
	genPeakOf(a, "peakBF16DotAVX512", "multiply-adds of 32 bfloat16", "Z", 24, 32, func(i int) {
		a.vdpbf16ps(24, 25, i)
	})
	genPeakOf(a, "peakINT8DotAVX512", "multiply-adds of 64 bytes", "Z", 24, 64, func(i int) {
		a.P("VPDPBUSD Z24, Z25, Z%d", i)
	})
	wide := func(reg, suffix string, sums, products int) func(i int) {
		return func(i int) {
			product := sums + 2 + i%products
			a.P("VPMADDWD %[1]s%[2]d, %[1]s%[3]d, %[1]s%[4]d", reg, sums, sums+1, product)
			a.P("VPADDD %[1]s%[2]d, %[1]s%[3]d, %[1]s%[3]d", reg, product, i)
		}
	}
	genPeakOf(a, "peakINT8AVX512", "multiply-adds of 32 16-bit integers", "Z", 24, 32, wide("Z", "D", 24, 6))
	genPeakOf(a, "peakINT8AVX2", "multiply-adds of 16 16-bit integers", "Y", 12, 16, wide("Y", "", 12, 2))
}

// A converter writes functions over n elements, a positive multiple of the lanes: SI and DI are
// source and destination, CX counts what is left.
type converter struct {
	*asm
	simd
}

func (c *converter) r(i int) string { return fmt.Sprintf("%s%d", c.reg, i) }

func (c *converter) evex(name string) string {
	if c.reg == "Z" {
		return name + "D"
	}
	return name
}

func (c *converter) begin(name, signature, doc string) {
	c.Func(name+c.level, signature, name+c.level+" "+doc)
	c.P("MOVQ %s, SI", c.Param("x"))
	c.P("MOVQ %s, CX", c.Param("n"))
}

func (c *converter) loop(stored int, body func()) {
	c.P("PCALIGN $16")
	c.Label("loop")
	body()
	c.P("ADDQ $%d, SI", 4*c.lanes)
	if stored > 0 {
		c.P("ADDQ $%d, DI", stored*c.lanes)
	}
	c.P("SUBQ $%d, CX", c.lanes)
	c.P("JNE loop")
}

// extremes finds both ends of the range of a row by integer comparison of its floats' bits.
func (c *converter) extremes() {
	c.begin("extremes", "x *float32, n int) (low uint32, high uint32", `finds the bits of the lowest float, or -0, and of
the highest, or +0, n being a positive multiple of the lanes:

	low = 1 << 31
	for _, v := range x[:n] {
		low = max(low, bits(v))
		high = uint32(max(int32(high), int32(bits(v))))
	}`)
	c.P("VPBROADCASTD %s, %s", c.U32(1<<31), c.r(0))
	c.P("%s %[2]s, %[2]s, %[2]s", c.evex("VPXOR"), c.r(1))
	c.loop(0, func() {
		c.P("VMOVUPS (SI), %s", c.r(2))
		c.P("VPMAXUD %s, %[2]s, %[2]s", c.r(2), c.r(0))
		c.P("VPMAXSD %s, %[2]s, %[2]s", c.r(2), c.r(1))
	})
	for i, op := range []string{"VPMAXUD", "VPMAXSD"} {
		if c.reg == "Z" {
			c.P("VEXTRACTI64X4 $1, Z%d, Y2", i)
			c.P("%s Y2, Y%[2]d, Y%[2]d", op, i)
		}
		c.P("VEXTRACTI128 $1, Y%d, X2", i)
		c.P("%s X2, X%[2]d, X%[2]d", op, i)
		for _, order := range []int{0x4e, 0xb1} {
			c.P("VPSHUFD $0x%x, X%d, X2", order, i)
			c.P("%s X2, X%[2]d, X%[2]d", op, i)
		}
	}
	c.P("VMOVD X0, AX")
	c.P("MOVL AX, %s", c.Param("low"))
	c.P("VMOVD X1, AX")
	c.P("MOVL AX, %s", c.Param("high"))
	c.Ret()
}

// round rounds floats to bfloat16, to the nearest and of two to the even one.
func (c *converter) round() {
	write := func(name, doc string, stored int, store func()) {
		c.begin(name, "dst *float32, x *float32, n int", doc)
		c.P("MOVQ %s, DI", c.Param("dst"))
		c.roundingConstants()
		c.loop(stored, func() {
			c.P("VMOVUPS (SI), %s", c.r(0))
			c.rounded()
			store()
		})
		c.Ret()
	}
	write("roundBF16", `sets dst to x rounded to bfloat16, as floats, n being a positive multiple of the lanes:

	for i, v := range x[:n] {
		dst[i] = float(uint32(toBF16(v)) << 16)
	}`, 4, func() {
		c.P("%s %s, %[3]s, %[3]s", c.evex("VPAND"), c.r(13), c.r(1))
		c.P("VMOVUPS %s, (DI)", c.r(1))
	})
	if c.reg == "Z" {
		write("packBF16", `sets dst to x as bfloat16, n being a positive multiple of the lanes:

	for i, v := range x[:n] {
		dst[i] = toBF16(v)
	}`, 2, func() {
			c.P("VPSRLD $16, Z1, Z1")
			c.P("VPMOVDW Z1, (DI)")
		})
	}
}

// roundingConstants loads what rounded needs into registers 10 to 12, and the mask of the upper half
// of a word into register 13.
func (c *converter) roundingConstants() {
	for i, v := range []uint32{0x7fff, 1, 0x00400000, 0xffff0000} {
		c.P("VPBROADCASTD %s, %s", c.U32(v), c.r(10+i))
	}
}

// rounded sets the upper halves of the words of register 1 to the floats of register 0 as bfloat16.
// It uses registers 2 and 3.
func (c *converter) rounded() {
	c.P("VPSRLD $16, %s, %s", c.r(0), c.r(1))
	c.P("%s %s, %[3]s, %[3]s", c.evex("VPAND"), c.r(11), c.r(1))
	c.P("VPADDD %s, %[2]s, %[2]s", c.r(10), c.r(1))
	c.P("VPADDD %s, %[2]s, %[2]s", c.r(0), c.r(1))
	// NaN must not become infinite by rounding: it is made quiet instead.
	if c.reg == "Z" {
		c.P("VCMPPS $3, Z0, Z0, K1")
		c.P("VPORD Z12, Z0, K1, Z1")
	} else {
		c.P("VCMPPS $3, Y0, Y0, Y2")
		c.P("VPOR Y12, Y0, Y3")
		c.P("VBLENDVPS Y2, Y3, Y1, Y1")
	}
}

// pairs makes words of two rows.
func (c *converter) pairs() {
	c.begin("pairBF16", "dst *float32, x *float32, y *float32, n int",
		`sets the lower halves of the words of dst to x, and the upper ones to y, as bfloat16, n being a
positive multiple of the lanes:

	for i := range n {
		dst[i] = toBF16(x[i]) | toBF16(y[i])<<16
	}`)
	c.P("MOVQ %s, DX", c.Param("y"))
	c.P("MOVQ %s, DI", c.Param("dst"))
	c.roundingConstants()
	c.loop(4, func() {
		c.P("VMOVUPS (SI), %s", c.r(0))
		c.rounded()
		c.P("VPSRLD $16, %s, %s", c.r(1), c.r(4))
		c.P("VMOVUPS (DX), %s", c.r(0))
		c.rounded()
		c.P("%s %s, %[3]s, %[3]s", c.evex("VPAND"), c.r(13), c.r(1))
		c.P("%s %s, %s, %[3]s", c.evex("VPOR"), c.r(4), c.r(1))
		c.P("VMOVUPS %s, (DI)", c.r(1))
		c.P("ADDQ $%d, DX", 4*c.lanes)
	})
	c.Ret()
}

// quantise makes integers of floats.
func (c *converter) quantise() {
	const doc = `sets dst to x as integers of %d bits, n being a positive multiple of the lanes:

	for i, v := range x[:n] {
		dst[i] = min(max(round(v*inverse)+zero, 0), 255)
	}`
	write := func(name string, stored int, store func()) {
		c.begin(name, "dst *float32, x *float32, n int, inverse float32, zero int32", fmt.Sprintf(doc, 8*stored))
		c.P("MOVQ %s, DI", c.Param("dst"))
		c.P("VBROADCASTSS %s, %s", c.Param("inverse"), c.r(10))
		c.P("MOVL %s, AX", c.Param("zero"))
		c.P("VMOVD AX, X11")
		c.P("VPBROADCASTD X11, %s", c.r(11))
		c.P("VPBROADCASTD %s, %s", c.U32(255), c.r(12))
		c.P("%s %[2]s, %[2]s, %[2]s", c.evex("VPXOR"), c.r(13))
		c.loop(stored, func() {
			c.P("VMULPS (SI), %s, %s", c.r(10), c.r(0))
			c.P("VCVTPS2DQ %[1]s, %[1]s", c.r(0))
			c.P("VPADDD %s, %[2]s, %[2]s", c.r(11), c.r(0))
			c.P("VPMAXSD %s, %[2]s, %[2]s", c.r(13), c.r(0))
			c.P("VPMINSD %s, %[2]s, %[2]s", c.r(12), c.r(0))
			store()
		})
		c.Ret()
	}
	if c.reg == "Z" {
		write("quantiseBytes", 1, func() { c.P("VPMOVDB Z0, (DI)") })
		write("quantiseWords", 2, func() { c.P("VPMOVDW Z0, (DI)") })
		return
	}
	write("quantiseWords", 2, func() {
		c.P("VEXTRACTI128 $1, Y0, X1")
		c.P("VPACKUSDW X1, X0, X0")
		c.P("VMOVUPS X0, (DI)")
	})
}
