package checkpoint

import "math"

// BFloat16 returns the number that the upper half of a float32's bits stands for.
func BFloat16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// ToBFloat16 rounds x to bfloat16, ties to even; a NaN stays one.
func ToBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7FFF + b>>16&1) >> 16)
}

// Float16 returns the number that the bits of an IEEE 754 half stand for.
func Float16(b uint16) float32 {
	sign := uint32(b&0x8000) << 16
	exponent, fraction := uint32(b>>10&0x1F), uint32(b&0x3FF)
	switch exponent {
	case 0: // zero or subnormal: a multiple of 2^-24
		f := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1F: // infinity or NaN
		return math.Float32frombits(sign | 0x7F800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// ToFloat16 rounds x to an IEEE 754 half, ties to even; what is too large becomes infinite, a NaN
// stays one.
func ToFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	abs := b & 0x7FFFFFFF
	switch {
	case abs > 0x7F800000:
		return sign | 0x7E00
	case abs >= 0x477FF000: // 65520 and above round to infinity
		return sign | 0x7C00
	case abs < 0x38800000: // below 2^-14: subnormal, a multiple of 2^-24
		// Adding 0.5 leaves the multiple in the lowest bits, rounded as every float32 sum is.
		f := math.Float32frombits(abs) + 0.5
		return sign | uint16(math.Float32bits(f)-math.Float32bits(0.5))
	}
	abs -= 112 << 23
	return sign | uint16((abs+0xFFF+abs>>13&1)>>13)
}

// float8E4 are the numbers that the bytes of F8E4 stand for: exponents of bias 7, subnormals, and
// NaN where all bits but the sign are set.
var float8E4 = func() (all [256]float32) {
	for b := range all {
		exponent, fraction := b>>3&0xF, float64(b&7)/8
		x := math.Ldexp(1+fraction, exponent-7)
		switch {
		case b&0x7F == 0x7F:
			x = math.NaN()
		case exponent == 0:
			x = math.Ldexp(fraction, -6)
		}
		if b >= 0x80 {
			x = math.Copysign(x, -1)
		}
		all[b] = float32(x)
	}
	return all
}()
