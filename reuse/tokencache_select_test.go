package reuse

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTop checks that the largest values are taken, and of equal ones the first.
func TestTop(t *testing.T) {
	negativeZero := float32(math.Copysign(0, -1))
	values := []float32{
		negativeZero, 0, 1, -1, float32(math.Inf(1)), negativeZero, 1,
		math.SmallestNonzeroFloat32, float32(math.Inf(-1)), -math.MaxFloat32,
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		values = append(values, float32(random.IntN(20))/7-1, random.Float32())
	}
	var order []int32
	for i := range values {
		order = append(order, int32(i))
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(values[b], values[a]) })
	k := &selector{}
	for _, count := range []int{0, 1, 3, 7, 400, len(values)} {
		if got := k.top(values, count); !slices.Equal(got, order[:count]) {
			t.Errorf("top %d: %v, want %v", count, got, order[:count])
		}
	}
}
