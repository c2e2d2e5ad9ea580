package main

// training writes the operations of training.
func (r *rows) training() {
	r.maps("geluGrad", "dst []float32, x []float32, dy []float32",
		"sets dst to dy times the derivative of GELU at x.", func() {
			// The derivative of x·s(u(x)) is s + x·u'·s·(1-s). At the limits, s is 0 or 1.
			r.limited(0, "x", 16)
			r.geluArgument(1, 0, 5)
			r.exp(1, 2, 3, 4)
			r.fill(2, gelu1)
			r.do(addProduct, 2, 5, 3*gelu3)
			r.do(mulFloats, 2, 2, vec(0))
			r.logisticGrad()
		})
	r.maps("siluGrad", "dst []float32, x []float32, dy []float32",
		"sets dst to dy times the derivative of SiLU at x.", func() {
			r.limited(2, "x", 1000)
			r.do(xorBits, 1, 2, signBit)
			r.exp(1, 3, 4, 5)
			r.logisticGrad()
		})
	r.maps("softmaxGrad", "dst []float32, p []float32, dp []float32, mean float32, scale float32",
		"sets dst to scale * p * (dp-mean).", func() {
			r.load(0, "dp")
			r.load(1, "p")
			r.do(subFloats, 0, 0, r.scalars["mean"])
			r.do(mulFloats, 0, 0, vec(1))
			r.do(mulFloats, 0, 0, r.scalars["scale"])
			r.store("dst", 0)
		})
	r.maps("adamW", "param []float32, m []float32, v []float32, grad []float32, "+
		"beta1 float32, rest1 float32, beta2 float32, rest2 float32, keep float32, step float32, root float32, eps float32", `
sets, sums being rounded once,

	m = beta1*m + rest1*grad
	v = beta2*v + rest2*grad²
	param = keep*param - step*m/(root*sqrt(v)+eps)`, func() {
		r.load(0, "grad")
		r.load(1, "m")
		r.load(2, "v")
		r.load(3, "param")
		r.do(mulFloats, 1, 1, r.scalars["beta1"])
		r.do(addProduct, 1, 0, r.scalars["rest1"])
		r.store("m", 1)
		r.do(mulFloats, 0, 0, vec(0))
		r.do(mulFloats, 2, 2, r.scalars["beta2"])
		r.do(addProduct, 2, 0, r.scalars["rest2"])
		r.store("v", 2)
		if r.neon() {
			r.V(fsqrt, 2, 2)
		} else {
			r.P("VSQRTPS %[1]s, %[1]s", r.name(2))
		}
		r.do(multiplyAddTo, 2, r.scalars["root"], r.scalars["eps"])
		r.do(divFloats, 1, 1, vec(2))
		r.do(mulFloats, 3, 3, r.scalars["keep"])
		r.do(subProduct, 3, 1, r.scalars["step"])
		r.store("param", 3)
	})
}

// limited loads a vector and limits it to [-limit, limit]. It uses register 1.
func (r *rows) limited(v vec, slice string, limit float64) {
	r.load(v, slice)
	r.fill(1, -limit)
	r.do(maxFloats, v, 1, v) // a NaN in the last operand stays
	r.fill(1, limit)
	r.do(minFloats, v, 1, v)
}

// logisticGrad sets dst to dy·(s + w·s·(1-s)), s being 1/(1+register 1) and w register 2.
func (r *rows) logisticGrad() {
	r.do(addFloats, 1, 1, 1.0)
	r.fill(0, 1)
	r.do(divFloats, 1, 0, vec(1))
	r.do(subFloats, 0, 0, vec(1))
	r.do(mulFloats, 0, 0, vec(2))
	r.do(multiplyAddTo, 0, 1, vec(1))
	r.load(1, "dy")
	r.do(mulFloats, 0, 0, vec(1))
	r.store("dst", 0)
}
