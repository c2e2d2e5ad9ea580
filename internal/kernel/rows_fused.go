package kernel

// fusedOps is what one implementation brings of operations that would be several passes over a row
// otherwise. They round as the operations that they consist of, and have no reference but those.
type fusedOps struct {
	swiGLU      func(dst, x, y []float32)
	swiGLUGrad  func(dx, dy, x, y, d []float32)
	scaleMul    func(dst, x, w []float32, s float32)
	weightedDot func(x, y, w []float32) (sum float32)
	rmsNormGrad func(dx, dw, x, dy, w []float32, s, c float32)
	rotate      func(a, b, x, y, cos, sin []float32)
	difference  func(old, fresh []float32, scale float32)
}

// The destinations of these operations must not be the same memory as each other or as operands,
// except that the first operand of SwiGLU and ScaleMul may be.

// SwiGLU sets dst to SiLU(x) * y.
func SwiGLU(dst, x, y []float32) {
	sameLength("SwiGLU", dst, x)
	sameLength("SwiGLU", dst, y)
	switch f := active.row.fused; {
	case len(dst) == 0:
	case f != nil:
		f.swiGLU(dst, x, y)
	default:
		SiLU(dst, x)
		Mul(dst, dst, y)
	}
}

// SwiGLUGrad sets dx and dy to the gradients by x and y of a function whose gradient by SiLU(x) * y
// is d.
func SwiGLUGrad(dx, dy, x, y, d []float32) {
	for _, s := range [][]float32{dy, x, y, d} {
		sameLength("SwiGLUGrad", dx, s)
	}
	switch f := active.row.fused; {
	case len(dx) == 0:
	case f != nil:
		f.swiGLUGrad(dx, dy, x, y, d)
	default:
		SiLU(dy, x)
		Mul(dy, dy, d)
		Mul(dx, d, y)
		SiLUGrad(dx, x, dx)
	}
}

// ScaleMul sets dst to x * s * w.
func ScaleMul(dst, x, w []float32, s float32) {
	sameLength("ScaleMul", dst, x)
	sameLength("ScaleMul", dst, w)
	switch f := active.row.fused; {
	case len(dst) == 0:
	case f != nil:
		f.scaleMul(dst, x, w, s)
	default:
		Scale(dst, x, s)
		Mul(dst, dst, w)
	}
}

// RMSNormGrad adds to dx and dw the gradients by x and w of a function whose gradient by y = x*s*w
// is dy, s being 1/sqrt(mean(x²)+eps):
//
//	dx += s * (w*dy - x * s² * mean(x*w*dy))    dw += s*x*dy
func RMSNormGrad(dx, dw, x, dy, w []float32, s float32) {
	for _, operand := range [][]float32{dw, x, dy, w} {
		sameLength("RMSNormGrad", dx, operand)
	}
	if len(dx) == 0 {
		return
	}
	n := float32(len(x))
	if f := active.row.fused; f != nil {
		f.rmsNormGrad(dx, dw, x, dy, w, s, -s*s*s*f.weightedDot(x, dy, w)/n)
		return
	}
	sum := 0.0
	for i, x := range x {
		sum += float64(x) * float64(float32(dy[i]*w[i]))
	}
	c := -s * s * s * float32(sum) / n
	for i, x := range x {
		dx[i] = fusedMultiplyAdd(s, float32(dy[i]*w[i]), dx[i])
		dx[i] = fusedMultiplyAdd(c, x, dx[i])
		dw[i] = fusedMultiplyAdd(s, float32(x*dy[i]), dw[i])
	}
}

// Rotate turns pairs of elements: it sets a to x*cos - y*sin and b to y*cos + x*sin, rounding sums
// once.
func Rotate(a, b, x, y, cos, sin []float32) {
	for _, operand := range [][]float32{b, x, y, cos, sin} {
		sameLength("Rotate", a, operand)
	}
	switch f := active.row.fused; {
	case len(a) == 0:
	case f != nil:
		f.rotate(a, b, x, y, cos, sin)
	default:
		for i, x := range x {
			a[i] = fusedMultiplyAdd(-y[i], sin[i], float32(x*cos[i]))
			b[i] = fusedMultiplyAdd(x, sin[i], float32(y[i]*cos[i]))
		}
	}
}

// Difference sets old to fresh, and fresh to (fresh - old) * scale of their values before: the next
// backward difference, or divided difference, of a sequence.
func Difference(old, fresh []float32, scale float32) {
	sameLength("Difference", old, fresh)
	switch f := active.row.fused; {
	case len(old) == 0:
	case f != nil:
		f.difference(old, fresh, scale)
	default:
		for i, v := range fresh {
			old[i], fresh[i] = v, float32(v-old[i])*scale
		}
	}
}
