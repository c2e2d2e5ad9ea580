package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A guard gives slices that end where readable memory ends and begin behind guard values.
type guard struct{ mem []float32 }

// guardValue is a NaN that no arithmetic produces: it shows both writes outside a slice and values
// taken from there.
var guardValue = math.Float32frombits(0x7fc0dead)

const guardFloats = 64

func isGuard(v float32) bool { return math.Float32bits(v) == math.Float32bits(guardValue) }

// newGuard returns a guard for slices of at most n floats.
func newGuard(t *testing.T, n int) *guard {
	return &guard{fencedMemory(t, n+guardFloats)}
}

// slice returns n guard values. It is valid up to the next call.
func (g *guard) slice(n int) []float32 {
	s := g.mem[len(g.mem)-n-guardFloats:]
	for i := range s {
		s[i] = guardValue
	}
	return s[guardFloats:]
}

// matrix returns a random matrix with guard values between its rows.
func (g *guard) matrix(rnd *rand.Rand, rows, cols, ld int) []float32 {
	m := g.slice(max(0, (rows-1)*ld+cols))
	for r := range rows {
		fillRandom(rnd, m[r*ld:][:cols])
	}
	return m
}

// check reports writes outside the matrix that slice or matrix gave last.
func (g *guard) check(t *testing.T, what string, rows, cols, ld int) {
	t.Helper()
	n := (rows-1)*ld + cols
	all := g.mem[len(g.mem)-n-guardFloats:]
	for i, v := range all[:guardFloats] {
		if !isGuard(v) {
			t.Fatalf("%s: float %d before it was written", what, i-guardFloats)
		}
	}
	for i, v := range all[guardFloats:] {
		if i%ld >= cols && !isGuard(v) {
			t.Fatalf("%s: row %d, column %d of %d was written", what, i/ld, i%ld, cols)
		}
	}
}

func fillRandom(rnd *rand.Rand, s []float32) {
	for i := range s {
		s[i] = float32(rnd.NormFloat64())
	}
}

func randomFloats(rnd *rand.Rand, n int) []float32 {
	s := AlignedFloats(n)
	fillRandom(rnd, s)
	return s
}
