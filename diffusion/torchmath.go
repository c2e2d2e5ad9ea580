package diffusion

import "math"

// The float32 logarithm, sine and cosine of PyTorch's AVX2 code, one element at a time: the
// polynomials of Moshier's Cephes library, with their sums of products fused as PyTorch's builds
// fuse them.

// log32 is the natural logarithm of a positive normal x.
func log32(x float32) float32 {
	bits := math.Float32bits(x)
	e := float32(int32(bits>>23) - 126)
	m := math.Float32frombits(bits&^0x7f800000 | 0x3f000000) // x = m * 2^e, m in [0.5, 1)
	if m < 0.707106781186547524 {
		e--
		m = (m - 1) + m
	} else {
		m--
	}
	z := m * m
	y := float32(7.0376836292e-2)
	for _, c := range [...]float32{
		-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	} {
		y = fma32(y, m, c)
	}
	y *= m
	// ln 2 is split in two, so that e times the first part is exact.
	const ln2High, ln2Low = 0.693359375, -2.12194440e-4
	y = fma32(y, z, float32(e*ln2Low))
	y -= z * 0.5 // exact, so fused or not
	return fma32(e, ln2High, m+y)
}

// sincos32 is the sine and cosine of x, 0 <= x < 8192.
func sincos32(x float32) (sin, cos float32) {
	octant := int32(x*1.27323954473516) + 1 // 4/pi
	octant &^= 1
	// x minus octant*pi/4, with pi/4 in three parts.
	y := float32(octant)
	x = fma32(y, -0.78515625, x)
	x = fma32(y, -2.4187564849853515625e-4, x)
	x = fma32(y, -3.77489497744594108e-8, x)

	z := x * x
	c := fma32(2.443315711809948e-5, z, -1.388731625493765e-3)
	c = fma32(c, z, 4.166664568298827e-2)
	c = fma32(float32(c*z), z, -float32(z*0.5)) + 1
	s := fma32(-1.9515295891e-4, z, 8.3321608736e-3)
	s = fma32(s, z, -1.6666654611e-1)
	s = fma32(float32(s*z), x, x)

	switch octant & 6 {
	case 2:
		return c, -s
	case 4:
		return -s, -c
	case 6:
		return -c, s
	}
	return s, c
}

// fma32 is a*b + c with one rounding, for finite operands and results.
//
// The product is exact in float64. The sum is rounded there to odd: if it is inexact, to that
// neighbour whose last bit is set, which keeps enough of what was lost for the second rounding, to
// float32, to come out as if it were the only one.
func fma32(a, b, c float32) float32 {
	product, addend := float64(a)*float64(b), float64(c)
	sum := product + addend
	virtual := sum - product
	lost := (product - (sum - virtual)) + (addend - virtual)
	bits := math.Float64bits(sum)
	if lost != 0 && bits&1 == 0 {
		if (lost > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
	}
	return float32(math.Float64frombits(bits))
}
