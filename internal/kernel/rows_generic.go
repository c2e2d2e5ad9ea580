package kernel

import "math"

// genericRow is the portable implementation. It computes in float64 where one float32 operation is
// not enough. In float32 sums of products, each product is rounded before it is added, so that
// processors with fused instructions give the same result.
var genericRow = rowOps{
	add: func(dst, a, b []float32) {
		for i, x := range a {
			dst[i] = x + b[i]
		}
	},
	sub: func(dst, a, b []float32) {
		for i, x := range a {
			dst[i] = x - b[i]
		}
	},
	mul: func(dst, a, b []float32) {
		for i, x := range a {
			dst[i] = x * b[i]
		}
	},
	mulAdd: func(dst, c, a, b []float32) {
		for i, x := range a {
			dst[i] = float32(float64(c[i]) + float64(x)*float64(b[i])) // the product is exact
		}
	},
	scale: func(dst, x []float32, s float32) {
		for i, x := range x {
			dst[i] = s * x
		}
	},
	axpy: func(dst, x []float32, s float32) {
		for i, x := range x {
			dst[i] = float32(float64(dst[i]) + float64(s)*float64(x))
		}
	},
	blend: func(dst, a, b []float32, alpha, beta float32) {
		for i, x := range a {
			dst[i] = float32(float64(alpha)*float64(x) + float64(beta)*float64(b[i]))
		}
	},
	relu: func(dst, x []float32) {
		for i, x := range x {
			dst[i] = max(x, 0)
		}
	},
	exp: func(dst, x []float32) {
		for i, x := range x {
			dst[i] = float32(math.Exp(float64(x)))
		}
	},
	tanh: func(dst, x []float32) {
		for i, x := range x {
			dst[i] = float32(math.Tanh(float64(x)))
		}
	},
	gelu: func(dst, x []float32) {
		for i, x := range x {
			x := float64(x)
			dst[i] = float32(x * logistic(x*(gelu1+gelu3*x*x)))
		}
	},
	silu: func(dst, x []float32) {
		for i, x := range x {
			x := float64(x)
			dst[i] = float32(x * logistic(x))
		}
	},
	normalise: func(dst, x []float32, mean, inverse float32) {
		for i, x := range x {
			dst[i] = (x - mean) * inverse
		}
	},
	modulate: func(dst, x, shift, scale []float32, mean, inverse float32) {
		for i, x := range x {
			dst[i] = float32((x-mean)*inverse*(1+scale[i])) + shift[i]
		}
	},
	expSum: func(dst, x []float32, highest, scale float32) float32 {
		var sum float64
		for i, x := range x {
			e := math.Exp(float64(scale) * float64(x-highest))
			dst[i] = float32(e)
			sum += e
		}
		return float32(sum)
	},
	exp2Sum: func(dst, x []float32, scale, shift float32) float32 {
		var sum float64
		for i, x := range x {
			e := math.Exp2(float64(float64(scale)*float64(x)) + float64(shift))
			dst[i] = float32(e)
			sum += e
		}
		return float32(sum)
	},

	sum: func(x []float32) float32 {
		var sum float64
		for _, x := range x {
			sum += float64(x)
		}
		return float32(sum)
	},
	dot: func(a, b []float32) float32 {
		var sum float64
		for i, x := range a {
			sum += float64(x) * float64(b[i])
		}
		return float32(sum)
	},
	l1Diff: func(a, b []float32) float32 {
		var sum float64
		for i, x := range a {
			sum += math.Abs(float64(x) - float64(b[i]))
		}
		return float32(sum)
	},
	l1Norm: func(x []float32) float32 {
		var sum float64
		for _, x := range x {
			sum += math.Abs(float64(x))
		}
		return float32(sum)
	},
	squaresAround: func(x []float32, mean float32) float32 {
		var sum float64
		for _, x := range x {
			d := float64(x) - float64(mean)
			sum += float64(d * d)
		}
		return float32(sum)
	},
	highest: func(x []float32) float32 {
		highest := float32(math.Inf(-1))
		for _, x := range x {
			if x > highest {
				highest = x
			}
		}
		return highest
	},

	geluGrad: func(dst, x, dy []float32) {
		for i, x := range x {
			x := max(-16, min(float64(x), 16)) // at the limits, s is 0 or 1
			s := logistic(x * (gelu1 + gelu3*x*x))
			dst[i] = float32(float64(dy[i]) * (s + x*(gelu1+3*gelu3*x*x)*s*(1-s)))
		}
	},
	siluGrad: func(dst, x, dy []float32) {
		for i, x := range x {
			x := max(-1000, min(float64(x), 1000))
			s := logistic(x)
			dst[i] = float32(float64(dy[i]) * (s + x*s*(1-s)))
		}
	},
	softmaxGrad: func(dst, p, dp []float32, mean, scale float32) {
		for i, p := range p {
			dst[i] = (dp[i] - mean) * p * scale
		}
	},
	adamW: func(param, m, v, grad []float32, beta1, rest1, beta2, rest2, keep, step, root, eps float32) {
		for i, g := range grad {
			m[i] = float32(beta1*m[i]) + float32(rest1*g)
			v[i] = float32(beta2*v[i]) + float32(rest2*g*g)
			param[i] = float32(keep*param[i]) - step*m[i]/(float32(root*float32(math.Sqrt(float64(v[i]))))+eps)
		}
	},

	packPairs: func(dst, lo, hi []float32) {
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(toBF16(lo[i])) | uint32(toBF16(hi[i]))<<16)
		}
	},
	axpyPairs: func(lo, hi, x []float32, s float32) {
		for i := range x {
			x := math.Float32bits(x[i])
			lo[i] = float32(float64(lo[i]) + float64(s)*float64(math.Float32frombits(x<<16)))
			hi[i] = float32(float64(hi[i]) + float64(s)*float64(math.Float32frombits(x&^0xffff)))
		}
	},
}

// GELU multiplies x by the logistic function of gelu1*x + gelu3*x³.
const (
	gelu1 = 2 * math.Sqrt2 / (math.SqrtPi)
	gelu3 = 0.044715 * gelu1
)

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
