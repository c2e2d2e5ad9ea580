package diffusion

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// TestFMA32 compares with exact rational arithmetic, rounded once, on operands that nearly cancel
// or tie.
func TestFMA32(t *testing.T) {
	exact := func(a, b, c float32) float32 {
		x := new(big.Float).SetPrec(400).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		x.Add(x, big.NewFloat(float64(c)))
		v, _ := x.Float32()
		return v
	}
	// Here rounding the sum to float64 first makes a tie that float32 then breaks the wrong way.
	if a, b, c := float32(1+0x1p-12), float32(1+0x1p-12), float32(0x1p-60); fma32(a, b, c) != exact(a, b, c) {
		t.Errorf("fma32(%v, %v, %v) = %v, want %v", a, b, c, fma32(a, b, c), exact(a, b, c))
	}
	rapid.Check(t, func(t *rapid.T) {
		operand := rapid.Custom(func(t *rapid.T) float32 {
			mantissa := rapid.Int32Range(-1<<24, 1<<24).Draw(t, "mantissa")
			return float32(math.Ldexp(float64(mantissa), rapid.IntRange(-40, 0).Draw(t, "exponent")))
		})
		a, b := operand.Draw(t, "a"), operand.Draw(t, "b")
		c := operand.Draw(t, "c")
		if rapid.Bool().Draw(t, "cancel") {
			c = -a * b
		}
		if got, want := fma32(a, b, c), exact(a, b, c); got != want {
			t.Fatalf("fma32(%v, %v, %v) = %v, want %v", a, b, c, got, want)
		}
	})
}

// TestElementary holds ln and sincosTurns against package math.
func TestElementary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := float64(rapid.Uint64Range(1, 1<<53).Draw(t, "x")) * 0x1p-53
		// Seven roundings of numbers no larger than the result, in units of 2^-53.
		if got, want := ln(x), math.Log(x); math.Abs(got-want) > 8*0x1p-53*math.Abs(want) {
			t.Errorf("ln(%v) = %v, want %v", x, got, want)
		}
		u := float64(rapid.Uint64Range(0, 1<<53-1).Draw(t, "u")) * 0x1p-53
		sin, cos := sincosTurns(u)
		// The reference's own argument, 2 pi u, is off by up to 2^-51 for angles of 4 and more.
		wantSin, wantCos := math.Sincos(2 * math.Pi * u)
		if math.Abs(sin-wantSin) > 0x1p-50 || math.Abs(cos-wantCos) > 0x1p-50 {
			t.Errorf("sincosTurns(%v) = %v, %v, want %v, %v", u, sin, cos, wantSin, wantCos)
		}
	})
	for quarter, want := range [][2]float64{{0, 1}, {1, 0}, {0, -1}, {-1, 0}} {
		if sin, cos := sincosTurns(float64(quarter) / 4); sin != want[0] || cos != want[1] {
			t.Errorf("sincosTurns(%d/4) = %v, %v, want %v", quarter, sin, cos, want)
		}
	}
}
