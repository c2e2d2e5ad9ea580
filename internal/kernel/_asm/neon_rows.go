package main

import (
	"math"
	"strings"
)

// genNEONRows writes the operations over rows for arm64.
//
// R0 counts the elements left, and R1 to R6 point to the vector at hand of each slice. Scalars are in
// all lanes of the registers from 13 downwards. Constants are in those from 31 to 16, which are
// filled before the first loop; R7, R8 and registers 14 and 15 are for operations that need more than
// one instruction.
func genNEONRows(a *asm) {
	r := &rows{asm: a, simd: simd{"NEON", "V", neonLanes}}
	r.all()
	r.fused()
}

func (r *rows) neon() bool { return r.reg == "V" }

// free are registers of no other use.
const free, constants = 14, 16

func (r *rows) beginNEON(signature string) {
	r.constant, r.labels = nil, 0
	in, _, _ := strings.Cut(signature, ") (")
	for field := range strings.SplitSeq(in, ",") {
		name, typ, _ := strings.Cut(strings.TrimSpace(field), " ")
		if typ == "float32" {
			v := vec(free - 1 - len(r.scalars))
			r.scalars[name] = v
			r.P("FMOVS %s, F%d", r.Param(name), v)
			r.P("VDUP V%[1]d.S[0], V%[1]d.S4", v)
			continue
		}
		if len(r.pointers) == 0 {
			r.P("MOVD %s, R0", r.Param(name+"_len"))
		}
		g := []string{"R1", "R2", "R3", "R4", "R5", "R6"}[len(r.pointers)]
		r.pointers[name] = g
		r.P("MOVD %s, %s", r.Param(name+"_base"), g)
	}
}

// eachNEON is each. It writes the body twice: the first time shows which constants it needs, and is
// thrown away.
func (r *rows) eachNEON(unroll int, body func(i int)) {
	r.looping = true
	before := r.code.Len()
	body(0)
	r.code.Truncate(before)
	for i, bits := range r.constant {
		r.VFill(31-i, bits, "R7")
	}
	if unroll > 1 {
		r.loopNEON("block", unroll, body)
	}
	r.loopNEON("vector", 1, body)
	r.P("CBZ R0, done")
	r.partial = true
	body(0)
	r.partial, r.looping = false, false
	r.Label("done")
}

func (r *rows) loopNEON(label string, vectors int, body func(i int)) {
	n := vectors * r.lanes
	r.P("SUBS $%d, R0", n)
	r.P("BLT %sEnd", label)
	r.P("PCALIGN $16")
	r.Label("%s", label)
	for r.vector = range vectors {
		body(r.vector)
	}
	r.vector = 0
	for i := 1; i <= len(r.pointers); i++ {
		r.P("ADD $%d, R%d", 4*n, i)
	}
	r.P("SUBS $%d, R0", n)
	r.P("BGE %s", label)
	r.Label("%sEnd", label)
	r.P("ADD $%d, R0", n)
}

// part writes the instructions that move one to three elements: the first two and the third, or the
// first alone.
func (r *rows) part(slice string, two, third, one func(pointer string)) {
	r.labels++
	pointer := r.pointers[slice]
	r.P("TBZ $1, R0, one%d", r.labels)
	two(pointer)
	r.P("TBZ $0, R0, moved%d", r.labels)
	r.P("ADD $8, %s, R7", pointer)
	third("R7")
	r.P("B moved%d", r.labels)
	r.Label("one%d", r.labels)
	one(pointer)
	r.Label("moved%d", r.labels)
}

func (r *rows) loadNEON(v vec, slice string) {
	if !r.partial {
		r.P("FMOVQ %d(%s), F%d", 16*r.vector, r.pointers[slice], v)
		return
	}
	r.part(slice,
		func(p string) { r.P("FMOVD (%s), F%d", p, v) },
		func(p string) { r.P("VLD1 (%s), V%d.S[2]", p, v) },
		func(p string) { r.P("FMOVS (%s), F%d", p, v) })
}

func (r *rows) storeNEON(slice string, v vec) {
	if !r.partial {
		r.P("FMOVQ F%d, %d(%s)", v, 16*r.vector, r.pointers[slice])
		return
	}
	r.part(slice,
		func(p string) { r.P("FMOVD F%d, (%s)", v, p) },
		func(p string) { r.P("VST1 V%d.S[2], (%s)", v, p) },
		func(p string) { r.P("FMOVS F%d, (%s)", v, p) })
}

// outsideNEON copies the lanes behind the end from another register.
func (r *rows) outsideNEON(v, from vec) {
	const lane, count = free, free + 1
	r.P("MOVD $%s, R7", r.Table("lane", []uint32{0, 1, 2, 3}))
	r.P("FMOVQ (R7), F%d", lane)
	r.P("VDUP R0, V%d.S4", count)
	r.V(cmgt, count, count, lane)
	r.V(bif, int(v), int(from), count)
}

// register returns the register of a constant, or false if it has none: outside of loops, or because
// there are too many.
func (r *rows) register(bits uint32) (vec, bool) {
	if !r.looping {
		return 0, false
	}
	for i, c := range r.constant {
		if c == bits {
			return vec(31 - i), true
		}
	}
	if r.partial || len(r.constant) > 31-constants {
		return 0, false
	}
	r.constant = append(r.constant, bits)
	return vec(31 - len(r.constant) + 1), true
}

func (r *rows) fillNEON(v vec, bits uint32) {
	if from, ok := r.register(bits); ok && bits != 0 {
		r.VMove(int(v), int(from))
		return
	}
	r.VFill(int(v), bits, "R8")
}

func (r *rows) doNEON(op operation, to, a vec, b any) {
	var bits uint32
	last, isRegister := b.(vec)
	switch b := b.(type) {
	case float64:
		bits = math.Float32bits(float32(b))
	case uint32:
		bits = b
	}
	if !isRegister {
		var ok bool
		if last, ok = r.register(bits); !ok {
			last = free + 1
			r.VFill(int(last), bits, "R8")
		}
	}
	if op.avx == multiplyAddTo.avx {
		r.VMove(free, int(last))
		r.V(fmla, free, int(to), int(a))
		r.VMove(int(to), free)
		return
	}
	r.V(op.neon, int(to), int(a), int(last))
}

// polynomialNEON is polynomial with two registers in turn.
func (r *rows) polynomialNEON(p, x vec, terms []float64) {
	value, next := p, vec(free)
	r.fillNEON(value, bitsOf(terms[0]))
	for _, t := range terms[1:] {
		r.fillNEON(next, bitsOf(t))
		r.V(fmla, int(next), int(value), int(x))
		value, next = next, value
	}
	if value != p {
		r.VMove(int(p), int(value))
	}
}

// reduceNEON combines the lanes of the first collecting register and returns the result.
func (r *rows) reduceNEON(op operation, result string) {
	if op == maxNumber {
		r.V(fmaxnmv, int(sums), int(sums))
	} else {
		for range 2 {
			r.V(faddp, int(sums), int(sums), int(sums))
		}
	}
	r.P("FMOVS F%d, %s", sums, r.Param(result))
	r.Ret()
}
