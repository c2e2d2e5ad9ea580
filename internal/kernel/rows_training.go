package kernel

import "math"

// GELUGrad sets dst to dy times the derivative of GELU at x.
func GELUGrad(dst, x, dy []float32) {
	sameLength("GELUGrad", dst, x)
	sameLength("GELUGrad", dst, dy)
	if len(dst) > 0 {
		active.row.geluGrad(dst, x, dy)
	}
}

// SiLUGrad sets dst to dy times the derivative of SiLU at x.
func SiLUGrad(dst, x, dy []float32) {
	sameLength("SiLUGrad", dst, x)
	sameLength("SiLUGrad", dst, dy)
	if len(dst) > 0 {
		active.row.siluGrad(dst, x, dy)
	}
}

// SoftmaxGrad sets dst to the gradient at x of a function whose gradient at p, the Softmax of
// scale*x, is dp: scale * p * (dp - sum(p*dp)).
func SoftmaxGrad(dst, p, dp []float32, scale float32) {
	sameLength("SoftmaxGrad", dst, p)
	sameLength("SoftmaxGrad", dst, dp)
	if len(dst) > 0 {
		active.row.softmaxGrad(dst, p, dp, active.row.dot(p, dp), scale)
	}
}

// AdamW takes one step of Adam with decoupled weight decay: it updates the running means m of the
// gradient and v of its square, and
//
//	param = (1-lr*decay)*param - lr * (m/correction1) / (sqrt(v/correction2)+eps)
//
// The corrections are 1-beta1ᵗ and 1-beta2ᵗ in step t = 1, 2, ....
func AdamW(param, m, v, grad []float32, lr, beta1, beta2, eps, decay, correction1, correction2 float32) {
	sameLength("AdamW", param, m)
	sameLength("AdamW", param, v)
	sameLength("AdamW", param, grad)
	if len(param) == 0 {
		return
	}
	keep := float32(1 - float64(lr)*float64(decay))
	root := float32(1 / math.Sqrt(float64(correction2)))
	active.row.adamW(param, m, v, grad, beta1, 1-beta1, beta2, 1-beta2, keep, lr/correction1, root, eps)
}

// Lerp sets dst to decay*dst + (1-decay)*x, a step of an exponential moving average.
func Lerp(dst, x []float32, decay float32) {
	sameLength("Lerp", dst, x)
	if len(dst) > 0 {
		active.row.blend(dst, dst, x, decay, 1-decay)
	}
}
