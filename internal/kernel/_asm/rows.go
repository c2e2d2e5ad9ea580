package main

import (
	"fmt"
	"math"
	"strings"
)

// genRows writes the operations over rows. Each is a map, which writes elements, or a fold, which
// reduces them to a number, or both.
func genRows(a *asm) {
	for _, set := range []simd{{"AVX512", "Z", 16}, {"AVX2", "Y", 8}} {
		r := &rows{asm: a, simd: set}
		r.all()
		r.fused()
	}
}

func (r *rows) all() {
	r.arithmetic()
	r.nonlinear()
	r.folds()
	r.training()
	r.pairs()
}

// A simd is an instruction set.
type simd struct {
	level string
	reg   string // of vectors
	lanes int
}

// A vec is a vector register. Y15 is the mask of an incomplete vector where there are no mask
// registers.
type vec int

// rows writes one function after another.
//
// AX is the offset of the vector at hand in every slice, in bytes, and CX counts the elements left.
// Scalars are in all lanes of the registers from 13 downwards.
type rows struct {
	*asm
	simd
	pointers map[string]string // general register of each slice
	scalars  map[string]vec
	partial  bool     // the vector at hand is incomplete: the last
	vector   int      // which of the vectors from AX on is at hand
	constant []uint32 // on arm64, what registers from 31 downwards hold: see neon_rows.go
	looping  bool     // the code being written is that of loops
	labels   int      // of parts of vectors, in the function
}

// begin begins a function over slices of equal length and scalars, and loads them.
func (r *rows) begin(name, signature, doc string) {
	name += r.level
	r.Func(name, signature, name+" "+doc)
	r.pointers, r.scalars = map[string]string{}, map[string]vec{}
	if r.neon() {
		r.beginNEON(signature)
		return
	}
	general := []string{"DI", "SI", "DX", "R8", "R9", "R10"}
	in, _, _ := strings.Cut(signature, ") (")
	for field := range strings.SplitSeq(in, ",") {
		name, typ, _ := strings.Cut(strings.TrimSpace(field), " ")
		if typ == "float32" {
			v := vec(13 - len(r.scalars))
			r.scalars[name] = v
			r.P("VBROADCASTSS %s, %s", r.Param(name), r.name(v))
			continue
		}
		if len(r.pointers) == 0 {
			r.P("MOVQ %s, CX", r.Param(name+"_len"))
		}
		g := general[len(r.pointers)]
		r.pointers[name] = g
		r.P("MOVQ %s, %s", r.Param(name+"_base"), g)
	}
	r.P("XORL AX, AX")
}

// each writes the loops over vectors: unroll at a time, then one, then the incomplete one.
func (r *rows) each(unroll int, body func(i int)) {
	if r.neon() {
		r.eachNEON(unroll, body)
		return
	}
	if unroll > 1 {
		r.loop("block", unroll, body)
	}
	r.loop("vector", 1, body)
	r.P("TESTQ CX, CX")
	r.P("JEQ done")
	if r.reg == "Z" {
		r.P("MOVL $1, BX")
		r.P("SHLL CX, BX")
		r.P("DECL BX")
		r.P("KMOVW BX, K1")
	} else {
		r.P("MOVQ CX, X15")
		r.P("VPBROADCASTD X15, Y15")
		r.P("VPCMPGTD %s, Y15, Y15", r.Table("lane", []uint32{0, 1, 2, 3, 4, 5, 6, 7}))
	}
	r.partial = true
	body(0)
	r.partial = false
	r.Label("done")
}

func (r *rows) loop(label string, vectors int, body func(i int)) {
	n := vectors * r.lanes
	r.P("SUBQ $%d, CX", n)
	r.P("JLT %sEnd", label)
	r.P("PCALIGN $32")
	r.Label("%s", label)
	for r.vector = range vectors {
		body(r.vector)
	}
	r.vector = 0
	r.P("ADDQ $%d, AX", 4*n)
	r.P("SUBQ $%d, CX", n)
	r.P("JGE %s", label)
	r.Label("%sEnd", label)
	r.P("ADDQ $%d, CX", n)
}

// maps writes a function that is a map.
func (r *rows) maps(name, signature, doc string, body func()) {
	r.begin(name, signature, doc)
	r.each(1, func(int) { body() })
	r.Ret()
}

func (r *rows) name(v vec) string { return fmt.Sprintf("%s%d", r.reg, v) }

func (r *rows) memory(slice string) string {
	return fmt.Sprintf("%d(%s)(AX*1)", 4*r.lanes*r.vector, r.pointers[slice])
}

// load loads the vector at hand, zero in the lanes behind its end.
func (r *rows) load(v vec, slice string) {
	switch {
	case r.neon():
		r.loadNEON(v, slice)
	case !r.partial:
		r.P("VMOVUPS %s, %s", r.memory(slice), r.name(v))
	case r.reg == "Z":
		r.P("VMOVUPS.Z %s, K1, %s", r.memory(slice), r.name(v))
	default:
		r.P("VMASKMOVPS %s, Y15, %s", r.memory(slice), r.name(v))
	}
}

func (r *rows) store(slice string, v vec) {
	switch {
	case r.neon():
		r.storeNEON(slice, v)
	case !r.partial:
		r.P("VMOVUPS %s, %s", r.name(v), r.memory(slice))
	case r.reg == "Z":
		r.P("VMOVUPS %s, K1, %s", r.name(v), r.memory(slice))
	default:
		r.P("VMASKMOVPS %s, Y15, %s", r.name(v), r.memory(slice))
	}
}

// outside sets the lanes behind the end to a number.
func (r *rows) outside(v vec, number float64, scratch vec) {
	if !r.partial {
		return
	}
	r.fill(scratch, number)
	switch r.reg {
	case "V":
		r.outsideNEON(v, scratch)
	case "Z":
		r.P("VMOVAPS %s, K1, %s", r.name(v), r.name(scratch))
		r.P("VMOVAPS %s, %s", r.name(scratch), r.name(v))
	default:
		r.P("VBLENDVPS Y15, %[1]s, %[2]s, %[1]s", r.name(v), r.name(scratch))
	}
}

// fill sets all lanes to a number.
func (r *rows) fill(v vec, number float64) {
	if r.neon() {
		r.fillNEON(v, bitsOf(number))
		return
	}
	r.P("VBROADCASTSS %s, %s", r.F32(number), r.name(v))
}

// do prints an instruction with its operands in the order of the processor's manual. The last is a
// vec, a number (float64) or a bit pattern (uint32).
func (r *rows) do(op operation, to, a vec, b any) {
	if r.neon() {
		r.doNEON(op, to, a, b)
		return
	}
	var bits uint32
	switch b := b.(type) {
	case vec:
		r.P("%s %s, %s, %s", op.avx, r.name(b), r.name(a), r.name(to))
		return
	case float64:
		bits = math.Float32bits(float32(b))
	case uint32:
		bits = b
	}
	if r.reg == "Z" {
		r.P("%s.BCST %s, %s, %s", op.avx, r.U32(bits), r.name(a), r.name(to))
		return
	}
	wide := make([]uint32, r.lanes)
	for i := range wide {
		wide[i] = bits
	}
	r.P("%s %s, %s, %s", op.avx, r.Table(fmt.Sprintf("wide_%08x", bits), wide), r.name(a), r.name(to))
}

const (
	signBit = uint32(1 << 31)
	others  = signBit - 1
)

// The multiples of x and x³ whose sum is the argument of the logistic function by which GELU
// multiplies x.
var (
	gelu1 = 2 * math.Sqrt(2/math.Pi)
	gelu3 = 0.044715 * gelu1
)

// arithmetic writes the operations that take one or two instructions.
func (r *rows) arithmetic() {
	for _, f := range []struct {
		name   string
		op     operation
		symbol string
	}{{"add", addFloats, "+"}, {"sub", subFloats, "-"}, {"mul", mulFloats, "*"}} {
		r.maps(f.name, "dst []float32, a []float32, b []float32", "sets dst to a "+f.symbol+" b.", func() {
			r.load(0, "a")
			r.load(1, "b")
			r.do(f.op, 0, 0, vec(1))
			r.store("dst", 0)
		})
	}
	r.maps("mulAdd", "dst []float32, c []float32, a []float32, b []float32",
		"sets dst to a*b + c, rounded once.", func() {
			r.load(0, "a")
			r.load(1, "b")
			r.load(2, "c")
			r.do(multiplyAddTo, 0, 1, vec(2))
			r.store("dst", 0)
		})
	r.maps("scale", "dst []float32, x []float32, s float32", "sets dst to s*x.", func() {
		r.load(0, "x")
		r.do(mulFloats, 0, 0, r.scalars["s"])
		r.store("dst", 0)
	})
	r.maps("axpy", "dst []float32, x []float32, s float32", "adds s*x to dst, rounded once.", func() {
		r.load(0, "x")
		r.load(1, "dst")
		r.do(multiplyAddTo, 0, r.scalars["s"], vec(1))
		r.store("dst", 0)
	})
	r.maps("blend", "dst []float32, a []float32, b []float32, alpha float32, beta float32",
		"sets dst to alpha*a + beta*b, the sum rounded once.", func() {
			r.load(0, "a")
			r.load(1, "b")
			r.do(mulFloats, 0, 0, r.scalars["alpha"])
			r.do(addProduct, 0, 1, r.scalars["beta"])
			r.store("dst", 0)
		})
	r.maps("relu", "dst []float32, x []float32", "sets dst to max(x, 0).", func() {
		r.load(0, "x")
		r.do(xorBits, 1, 1, vec(1))
		r.do(maxFloats, 0, 1, vec(0)) // a NaN in the last operand stays
		r.store("dst", 0)
	})
	r.maps("normalise", "dst []float32, x []float32, mean float32, inverse float32",
		"sets dst to (x-mean) * inverse.", func() {
			r.load(0, "x")
			r.do(subFloats, 0, 0, r.scalars["mean"])
			r.do(mulFloats, 0, 0, r.scalars["inverse"])
			r.store("dst", 0)
		})
	r.maps("modulate", "dst []float32, x []float32, shift []float32, scale []float32, mean float32, inverse float32",
		"sets dst to (x-mean)*inverse*(1+scale) + shift, the sum rounded once.", func() {
			r.load(0, "x")
			r.load(1, "scale")
			r.load(2, "shift")
			r.do(subFloats, 0, 0, r.scalars["mean"])
			r.do(mulFloats, 0, 0, r.scalars["inverse"])
			r.do(addFloats, 1, 1, 1.0)
			r.do(multiplyAddTo, 0, 1, vec(2))
			r.store("dst", 0)
		})
}

// expTerms are the coefficients of q in exp(r) = 1 + r + r²q(r) for |r| <= ln(2)/2, the
// interpolation of q in Chebyshev's points, the constant one last. Its error is 1/15 of a unit in
// the last place.
var expTerms = []float64{0.0013926376, 0.00836333308, 0.0416665535, 0.166665761, 0.5}

// tanhTerms are those of q in tanh(x) = x + x³q(x²) for |x| < tanhSmall.
var tanhTerms = []float64{0.00229274482, -0.00834394552, 0.0217689187, -0.0539592596, 0.133333036, -0.333333332}

const tanhSmall = 0.625

// polynomial sets p to the polynomial in x.
func (r *rows) polynomial(p, x vec, terms []float64) {
	if r.neon() {
		r.polynomialNEON(p, x, terms)
		return
	}
	r.fill(p, terms[0])
	for _, t := range terms[1:] {
		r.do(multiplyAddTo, p, x, t)
	}
}

// exp sets x to its exponential: with n the multiple of ln(2) nearest to x, 2ⁿ·exp(x - n·ln(2)). It
// uses registers n, p and t.
func (r *rows) exp(x, n, p, t vec) {
	// The limits are beyond those of what float32 can hold. A NaN in the last operand stays.
	r.fill(n, -105)
	r.do(maxFloats, x, n, x)
	r.fill(n, 89)
	r.do(minFloats, x, n, x)

	r.do(mulFloats, n, x, math.Log2E)
	switch r.reg {
	case "V":
		r.V(frintn, int(n), int(n))
	case "Z":
		r.P("VRNDSCALEPS $8, %[1]s, %[1]s", r.name(n))
	default:
		r.P("VROUNDPS $8, %[1]s, %[1]s", r.name(n))
	}
	high := float64(float32(math.Ln2))
	r.do(subProduct, x, n, high)
	r.do(subProduct, x, n, math.Ln2-high)

	r.polynomial(p, x, expTerms)
	r.do(mulFloats, t, x, x)
	r.do(multiplyAddTo, p, t, x)
	r.do(addFloats, p, p, 1.0)
	if r.reg == "Z" {
		r.do(scaleByPower, x, p, n)
		return
	}
	// Two powers of two, each a normal number, so that only the last multiplication rounds.
	if r.neon() {
		r.V(fcvtns, int(n), int(n))
		r.VShift(sshr, int(t), int(n), 1)
	} else {
		r.P("VCVTPS2DQ %[1]s, %[1]s", r.name(n))
		r.P("VPSRAD $1, %s, %s", r.name(n), r.name(t))
	}
	r.do(subInts, n, n, t)
	for i, power := range []vec{t, n} {
		r.do(addInts, power, power, uint32(127))
		if r.neon() {
			r.VShift(shl, int(power), int(power), 23)
		} else {
			r.P("VPSLLD $23, %[1]s, %[1]s", r.name(power))
		}
		r.do(mulFloats, x, []vec{p, x}[i], power)
	}
}

// exp2Terms are the coefficients of q in 2**r = 1 + r*q(r) for |r| <= 1/2, made as expTerms. The
// error is 1/6 of a unit in the last place.
var exp2Terms = []float64{0.000154531629, 0.00133908634, 0.00961808256, 0.0555035711, 0.240226508, 0.693147188}

// exp2 sets x to 2**x, or 2**-126 if that is more: with n the integer nearest to x, 2ⁿ·2**(x-n). It
// uses registers n and p. x must be below 128; a NaN stays.
func (r *rows) exp2(x, n, p vec) {
	r.fill(n, -126)
	r.do(maxFloats, x, n, x)
	// Adding 1.5 * 2**23 leaves n in the last bits, and the exponent's bias with it.
	const integer = 3<<22 + 127
	r.do(addFloats, n, x, float64(integer))
	r.do(subFloats, p, n, float64(integer))
	r.do(subFloats, x, x, p)
	r.shift("VPSLLD", shl, n, n, 23)
	r.polynomial(p, x, exp2Terms)
	r.do(multiplyAddTo, p, x, 1.0)
	r.do(mulFloats, x, p, n)
}

// geluArgument sets to to minus the argument of the logistic function in GELU of x, and t to x².
func (r *rows) geluArgument(to, x, t vec) {
	r.do(mulFloats, t, x, x)
	r.fill(to, -gelu1)
	r.do(addProduct, to, t, -gelu3)
	r.do(mulFloats, to, to, x)
}

// nonlinear writes the operations that need exponentials.
func (r *rows) nonlinear() {
	r.maps("exp", "dst []float32, x []float32", "sets dst to exp(x).", func() {
		r.load(0, "x")
		r.exp(0, 1, 2, 3)
		r.store("dst", 0)
	})
	r.maps("tanh", "dst []float32, x []float32", "sets dst to tanh(x).", func() {
		r.load(0, "x")
		r.do(andBits, 1, 0, others)
		r.do(addFloats, 2, 1, vec(1))
		r.exp(2, 3, 4, 5)
		r.do(addFloats, 2, 2, 1.0)
		r.fill(3, 2)
		r.do(divFloats, 3, 3, vec(2))
		r.fill(2, 1)
		r.do(subFloats, 2, 2, vec(3))

		r.do(mulFloats, 3, 0, vec(0))
		r.polynomial(4, 3, tanhTerms)
		r.do(mulFloats, 3, 3, vec(0))
		r.do(multiplyAddTo, 3, 4, vec(0))
		r.fill(4, tanhSmall)
		switch r.reg {
		case "V":
			r.V(fcmgt, 4, 4, 1)
			r.V(bit, 2, 3, 4)
		case "Z":
			r.P("VCMPPS $1, Z4, Z1, K2")
			r.P("VMOVAPS Z3, K2, Z2")
		default:
			r.P("VCMPPS $1, Y4, Y1, Y4")
			r.P("VBLENDVPS Y4, Y3, Y2, Y2")
		}
		r.do(andBits, 0, 0, signBit)
		r.do(orBits, 2, 2, vec(0)) // also where x is -0
		r.store("dst", 2)
	})
	r.maps("gelu", "dst []float32, x []float32", "sets dst to GELU(x), the tanh form.", func() {
		r.load(0, "x")
		r.geluArgument(1, 0, 2)
		r.exp(1, 2, 3, 4)
		r.do(addFloats, 1, 1, 1.0)
		r.do(divFloats, 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.maps("silu", "dst []float32, x []float32", "sets dst to x / (1+exp(-x)).", func() {
		r.load(0, "x")
		r.do(xorBits, 1, 0, signBit)
		r.exp(1, 2, 3, 4)
		r.do(addFloats, 1, 1, 1.0)
		r.do(divFloats, 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.begin("expSum", "dst []float32, x []float32, highest float32, scale float32) (sum float32",
		"sets dst to exp(scale * (x-highest)) and returns the sum.")
	r.start(1, 0)
	r.each(1, func(int) {
		r.load(0, "x")
		r.do(subFloats, 0, 0, r.scalars["highest"])
		r.do(mulFloats, 0, 0, r.scalars["scale"])
		r.exp(0, 1, 2, 3)
		r.store("dst", 0)
		r.outside(0, 0, 1)
		r.do(addFloats, sums, sums, vec(0))
	})
	r.reduce(addFloats, 1, "sum")
	r.begin("exp2Sum", "dst []float32, x []float32, scale float32, shift float32) (sum float32", `
sets dst to the powers of two with exponents scale*x + shift, which must be below 128, and at least
2**-126, and returns the sum.`)
	r.start(1, 0)
	r.each(1, func(int) {
		r.load(0, "x")
		r.do(multiplyAddTo, 0, r.scalars["scale"], r.scalars["shift"])
		r.exp2(0, 1, 2)
		r.store("dst", 0)
		r.outside(0, 0, 1)
		r.do(addFloats, sums, sums, vec(0))
	})
	r.reduce(addFloats, 1, "sum")
}
