package main

// fused writes operations that would be several passes over a row otherwise. They round as those do.
func (r *rows) fused() {
	r.maps("swiGLU", "dst []float32, x []float32, y []float32", "sets dst to SiLU(x) * y.", func() {
		r.load(0, "x")
		r.do("VXORPS", 1, 0, signBit)
		r.exp(1, 2, 3, 4)
		r.do("VADDPS", 1, 1, 1.0)
		r.do("VDIVPS", 0, 0, vec(1))
		r.load(1, "y")
		r.do("VMULPS", 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.maps("swiGLUGrad", "dx []float32, dy []float32, x []float32, y []float32, d []float32", `
sets dx to d*y times the derivative of SiLU at x, and dy to d * SiLU(x).`, func() {
		r.limited(2, "x", 1000)
		r.do("VXORPS", 1, 2, signBit)
		r.exp(1, 3, 4, 5)
		r.do("VADDPS", 1, 1, 1.0)
		r.load(3, "x")
		r.do("VDIVPS", 3, 3, vec(1))
		r.load(4, "d")
		r.do("VMULPS", 3, 3, vec(4))
		r.fill(0, 1)
		r.do("VDIVPS", 1, 0, vec(1))
		r.do("VSUBPS", 0, 0, vec(1))
		r.do("VMULPS", 0, 0, vec(2))
		r.do("VFMADD213PS", 0, 1, vec(1))
		r.load(1, "y")
		r.do("VMULPS", 4, 4, vec(1))
		r.do("VMULPS", 0, 0, vec(4))
		r.store("dx", 0)
		r.store("dy", 3)
	})
	r.maps("scaleMul", "dst []float32, x []float32, w []float32, s float32", "sets dst to x * s * w.", func() {
		r.load(0, "x")
		r.do("VMULPS", 0, 0, r.scalars["s"])
		r.load(1, "w")
		r.do("VMULPS", 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.fold("weightedDot", "x []float32, y []float32, w []float32) (sum float32", "returns the sum of x*(y*w).",
		"VADDPS", 0, func(sum vec) {
			r.load(0, "y")
			r.load(1, "w")
			r.do("VMULPS", 1, 0, vec(1))
			r.load(0, "x")
			r.do("VFMADD231PS", sum, 0, vec(1))
		})
	r.maps("rmsNormGrad", "dx []float32, dw []float32, x []float32, dy []float32, w []float32, s float32, c float32", `
adds to dx and dw, each multiplication but those in brackets being fused with its addition,

	dx += s*(dy*w)
	dx += c*x
	dw += s*(x*dy)`, func() {
		r.load(0, "dy")
		r.load(1, "x")
		r.load(2, "w")
		r.do("VMULPS", 2, 0, vec(2))
		r.do("VMULPS", 0, 0, vec(1))
		r.load(3, "dx")
		r.do("VFMADD231PS", 3, 2, r.scalars["s"])
		r.do("VFMADD231PS", 3, 1, r.scalars["c"])
		r.store("dx", 3)
		r.load(3, "dw")
		r.do("VFMADD231PS", 3, 0, r.scalars["s"])
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
		r.do("VMULPS", 4, 0, vec(2))
		r.do("VFNMADD231PS", 4, 1, vec(3))
		r.store("a", 4)
		r.do("VMULPS", 4, 1, vec(2))
		r.do("VFMADD231PS", 4, 0, vec(3))
		r.store("b", 4)
	})
}
