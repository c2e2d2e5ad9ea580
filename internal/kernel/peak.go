package kernel

import "runtime"

// PeakFLOPs executes rounds of independent multiply-adds of a number format at the active level and
// returns the number of operations. Timed, it is the speed that no product can exceed.
func PeakFLOPs(d DType, rounds int) (flops int64) {
	peak := active.product.peak
	switch d {
	case BF16:
		peak = active.narrow.bf16Peak
	case INT8:
		peak = active.narrow.int8Peak
	}
	return int64(peak(rounds)) * int64(rounds)
}

func genericPeak(rounds int) int {
	const chains = 12
	x, y := float32(0.5), float32(0.25)
	var a, b, c, d, e, f, g, h, i, j, k, l float32
	for range rounds {
		a = float32(a*x) + y
		b = float32(b*x) + y
		c = float32(c*x) + y
		d = float32(d*x) + y
		e = float32(e*x) + y
		f = float32(f*x) + y
		g = float32(g*x) + y
		h = float32(h*x) + y
		i = float32(i*x) + y
		j = float32(j*x) + y
		k = float32(k*x) + y
		l = float32(l*x) + y
	}
	runtime.KeepAlive(a + b + c + d + e + f + g + h + i + j + k + l)
	return 2 * chains
}
