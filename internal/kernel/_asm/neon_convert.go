package main

import "fmt"

// neonConversion writes a function over n floats from x on, a positive multiple of the lanes, which
// come in register 0. R0 and R1 are source and destination.
func neonConversion(a *asm, name, signature, doc string, prepare, body, finish func()) {
	a.Func(name, signature, name+" "+doc)
	a.P("MOVD %s, R0", a.Param("x"))
	a.P("MOVD %s, R2", a.Param("n"))
	if a.params["dst"] != a.params["x"] {
		a.P("MOVD %s, R1", a.Param("dst"))
	}
	prepare()
	a.Label("loop")
	a.P("FMOVQ.P 16(R0), F0")
	body()
	a.P("SUBS $%d, R2", neonLanes)
	a.P("BNE loop")
	finish()
	a.P("RET")
}

// neonExtremes finds both ends of the range of a row by integer comparison of its floats' bits.
func neonExtremes(a *asm) {
	neonConversion(a, "extremesNEON", "x *float32, n int) (low uint32, high uint32", `finds the bits of the lowest float, or -0, and
of the highest, or +0, n being a positive multiple of the lanes:

	low = 1 << 31
	for _, v := range x[:n] {
		low = max(low, bits(v))
		high = uint32(max(int32(high), int32(bits(v))))
	}`,
		func() {
			a.VFill(1, 1<<31, "R3")
			a.VZero(2)
		}, func() {
			a.V(umax, 1, 1, 0)
			a.V(smax, 2, 2, 0)
		}, func() {
			a.V(umaxv, 1, 1)
			a.V(smaxv, 2, 2)
			a.P("FMOVS F1, %s", a.Param("low"))
			a.P("FMOVS F2, %s", a.Param("high"))
		})
}

// neonRound rounds floats to bfloat16, to the nearest and of two to the even one.
func neonRound(a *asm) {
	prepare := func() {
		for i, v := range []uint32{0x7fff, 1, 0x00400000, 0xffff0000} {
			a.VFill(16+i, v, "R3")
		}
	}
	round := func() {
		a.VShift(ushr, 1, 0, 16)
		a.V(and, 1, 1, 17)
		a.V(add, 1, 1, 16)
		a.V(add, 1, 1, 0)
		// NaN must not become infinite by rounding: it is made quiet instead.
		a.V(fcmeq, 2, 0, 0)
		a.V(orr, 3, 0, 18)
		a.V(bif, 1, 3, 2)
	}
	const signature = "dst *float32, x *float32, n int"
	neonConversion(a, "roundBF16NEON", signature, `sets dst to x rounded to bfloat16, as floats, n being a positive multiple of the lanes:

	for i, v := range x[:n] {
		dst[i] = float(uint32(toBF16(v)) << 16)
	}`, prepare, func() {
		round()
		a.V(and, 1, 1, 19)
		a.P("FMOVQ.P F1, 16(R1)")
	}, func() {})
	neonConversion(a, "packBF16NEON", signature, `sets dst to x as bfloat16, n being a positive multiple of the lanes:

	for i, v := range x[:n] {
		dst[i] = toBF16(v)
	}`, prepare, func() {
		round()
		a.VShift(ushr, 1, 1, 16)
		a.V(xtn4h, 1, 1)
		a.P("FMOVD.P F1, 8(R1)")
	}, func() {})
}

// neonQuantise makes integers of floats.
func neonQuantise(a *asm) {
	write := func(name, doc string, store func()) {
		doc = "sets dst to x as " + doc + `, n being a positive multiple of the lanes:

	for i, v := range x[:n] {
		dst[i] = min(max(round(v*inverse)+zero, 0), 255)%s
	}`
		minus := ""
		if name == "quantiseBytesNEON" {
			minus = " - 128"
		}
		neonConversion(a, name, "dst *float32, x *float32, n int, inverse float32, zero int32", fmt.Sprintf(doc, minus),
			func() {
				a.P("FMOVS %s, F16", a.Param("inverse"))
				a.P("MOVW %s, R3", a.Param("zero"))
				a.P("VDUP R3, V17.S4")
				a.VFill(18, 255, "R3")
				a.VZero(19)
				a.VFill(20, 128, "R3")
			}, func() {
				a.VE(fmulElement, 0, 0, 16, 0)
				a.V(fcvtns, 0, 0)
				a.V(add, 0, 0, 17)
				a.V(smax, 0, 0, 19)
				a.V(smin, 0, 0, 18)
				store()
			}, func() {})
	}
	write("quantiseBytesNEON", "signed integers of 8 bits", func() {
		a.V(sub, 0, 0, 20)
		a.V(xtn4h, 0, 0)
		a.V(xtn8b, 0, 0)
		a.P("FMOVS.P F0, 4(R1)")
	})
	write("quantiseWordsNEON", "integers of 16 bits", func() {
		a.V(xtn4h, 0, 0)
		a.P("FMOVD.P F0, 8(R1)")
	})
}
