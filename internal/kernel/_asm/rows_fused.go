package main

// fused writes operations that would be several passes over a row otherwise. They round as those do.
func (r *rows) fused() {
	r.maps("swiGLU", "dst []float32, x []float32, y []float32", "sets dst to SiLU(x) * y.", func() {
		r.load(0, "x")
		r.do(xorBits, 1, 0, signBit)
		r.exp(1, 2, 3, 4)
		r.do(addFloats, 1, 1, 1.0)
		r.do(divFloats, 0, 0, vec(1))
		r.load(1, "y")
		r.do(mulFloats, 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.maps("swiGLUGrad", "dx []float32, dy []float32, x []float32, y []float32, d []float32", `
sets dx to d*y times the derivative of SiLU at x, and dy to d * SiLU(x).`, func() {
		r.limited(2, "x", 1000)
		r.do(xorBits, 1, 2, signBit)
		r.exp(1, 3, 4, 5)
		r.do(addFloats, 1, 1, 1.0)
		r.load(3, "x")
		r.do(divFloats, 3, 3, vec(1))
		r.load(4, "d")
		r.do(mulFloats, 3, 3, vec(4))
		r.fill(0, 1)
		r.do(divFloats, 1, 0, vec(1))
		r.do(subFloats, 0, 0, vec(1))
		r.do(mulFloats, 0, 0, vec(2))
		r.do(multiplyAddTo, 0, 1, vec(1))
		r.load(1, "y")
		r.do(mulFloats, 4, 4, vec(1))
		r.do(mulFloats, 0, 0, vec(4))
		r.store("dx", 0)
		r.store("dy", 3)
	})
	r.maps("scaleMul", "dst []float32, x []float32, w []float32, s float32", "sets dst to x * s * w.", func() {
		r.load(0, "x")
		r.do(mulFloats, 0, 0, r.scalars["s"])
		r.load(1, "w")
		r.do(mulFloats, 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.fold("weightedDot", "x []float32, y []float32, w []float32) (sum float32", "returns the sum of x*(y*w).",
		addFloats, 0, func(sum vec) {
			r.load(0, "y")
			r.load(1, "w")
			r.do(mulFloats, 1, 0, vec(1))
			r.load(0, "x")
			r.do(addProduct, sum, 0, vec(1))
		})
	r.maps("rmsNormGrad", "dx []float32, dw []float32, x []float32, dy []float32, w []float32, s float32, c float32", `
adds to dx and dw, each multiplication but those in brackets being fused with its addition,

	dx += s*(dy*w)
	dx += c*x
	dw += s*(x*dy)`, func() {
		r.load(0, "dy")
		r.load(1, "x")
		r.load(2, "w")
		r.do(mulFloats, 2, 0, vec(2))
		r.do(mulFloats, 0, 0, vec(1))
		r.load(3, "dx")
		r.do(addProduct, 3, 2, r.scalars["s"])
		r.do(addProduct, 3, 1, r.scalars["c"])
		r.store("dx", 3)
		r.load(3, "dw")
		r.do(addProduct, 3, 0, r.scalars["s"])
		r.store("dw", 3)
	})
	r.maps("rotate", "a []float32, b []float32, x []float32, y []float32, cos []float32, sin []float32", `
sets, the sums being rounded once,

	a = x*cos - y*sin
	b = y*cos + x*sin`, func() {
		r.load(0, "x")
		r.load(1, "y")
		r.load(2, "cos")
		r.load(3, "sin")
		r.do(mulFloats, 4, 0, vec(2))
		r.do(subProduct, 4, 1, vec(3))
		r.store("a", 4)
		r.do(mulFloats, 4, 1, vec(2))
		r.do(addProduct, 4, 0, vec(3))
		r.store("b", 4)
	})
	r.maps("difference", "old []float32, fresh []float32, scale float32",
		"sets old to fresh, and fresh to (fresh - old) * scale of their values before.", func() {
			r.load(0, "fresh")
			r.load(1, "old")
			r.store("old", 0)
			r.do(subFloats, 0, 0, vec(1))
			r.do(mulFloats, 0, 0, r.scalars["scale"])
			r.store("fresh", 0)
		})
}
