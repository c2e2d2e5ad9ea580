package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestNearest compares with a search of all pairs.
func TestNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	references := make([][]float32, 50)
	for i := range references {
		references[i] = gaussian(r, 1, []float64{0, 0, 0}, []float64{1, 1, 1})
	}
	samples := [][]float32{references[7], {0.1, 0.2, 0.3}}
	got, err := Nearest(samples, len(references), 3, func(i int, dst []float32) error { copy(dst, references[i]); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got[0][0] != (Neighbour{Index: 7}) {
		t.Errorf("the nearest to a reference is %+v, want itself", got[0][0])
	}
	for s, list := range got {
		if len(list) != 3 {
			t.Fatalf("%d neighbours", len(list))
		}
		farther := 0
		for _, x := range references {
			sum := 0.0
			for j := range x {
				d := float64(x[j] - samples[s][j])
				sum += d * d
			}
			if math.Sqrt(sum/3) > list[2].Distance+1e-6 {
				farther++
			}
		}
		if farther != len(references)-3 {
			t.Errorf("sample %d: %d references are farther than the third neighbour, want %d", s, farther, len(references)-3)
		}
	}
}
