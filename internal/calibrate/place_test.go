package calibrate

import (
	"math"
	"slices"
	"testing"
)

// curves makes the products of tokens whose updates are given functions of the position.
func curves(steps int, tokens ...func(p int) []float64) *gram {
	g := &gram{steps: steps, tokens: len(tokens)}
	for _, f := range tokens {
		for p := range steps {
			for q := range steps {
				sum := 0.0
				for i, v := range f(p) {
					sum += v * f(q)[i]
				}
				g.of = append(g.of, sum)
			}
		}
	}
	return g
}

func straight(p int) []float64 { return []float64{1 + 0.1*float64(p), 2 - 0.05*float64(p), 0.3} }

// bent is straight up to position 10 and turns sharply until 14.
func bent(p int) []float64 {
	turn := min(max(float64(p-10), 0), 4)
	return []float64{1 + 0.1*float64(p) - turn*turn, 2, turn}
}

// TestSolve holds that what Taylor's series forecasts exactly is forecast by its weights.
func TestSolve(t *testing.T) {
	g := curves(20, straight)
	weights, differences, left := solve(func(p, q int) float64 { return g.at(0, p, q) }, 12, []int{9, 7, 4}, 1e-3, nil)
	if left > 1e-9 {
		t.Errorf("error %g of a straight line", left)
	}
	// From 9 and 7 to 12: 1 + 3/2 of the difference.
	if math.Abs(differences[0]-1) > 1e-6 || math.Abs(differences[1]-3) > 1e-3 {
		t.Errorf("weights %v of the differences, want 1 and 3", differences)
	}
	for i := range 3 {
		sum := 0.0
		for j, q := range []int{9, 7, 4} {
			sum += weights[j] * straight(q)[i]
		}
		if want := straight(12)[i]; math.Abs(sum-want) > 1e-4 {
			t.Errorf("component %d: forecast %g, want %g", i, sum, want)
		}
	}
}

// TestPlace holds that I-steps go where the updates bend, and that the choice is the best there is.
func TestPlace(t *testing.T) {
	const steps, count = 16, 5
	g := curves(steps, straight, bent)
	weights := make([]float64, steps)
	for i := range weights {
		weights[i] = 1
	}
	got := place(g.total(), weights, count)
	if len(got) != count || got[0] != 0 || !slices.IsSorted(got) {
		t.Fatalf("I-steps %v, want %d of them from 0", got, count)
	}
	total := g.total()
	cost := func(list []int) float64 {
		sum := 0.0
		for p := range steps {
			if slices.Contains(list, p) {
				continue
			}
			var qs []int
			for i := len(list) - 1; i >= 0 && len(qs) < terms; i-- {
				if list[i] < p {
					qs = append(qs, list[i])
				}
			}
			_, _, left := solve(func(p, q int) float64 { return total[p][q] }, p, qs, ridge, nil)
			sum += left / total[p][p]
		}
		return sum
	}
	best := math.Inf(1)
	var choose func(list []int)
	choose = func(list []int) {
		if len(list) == count {
			best = min(best, cost(list))
			return
		}
		for p := list[len(list)-1] + 1; p < steps; p++ {
			choose(append(slices.Clone(list), p))
		}
	}
	choose([]int{0})
	if c := cost(got); c > best*(1+1e-9)+1e-12 {
		t.Errorf("I-steps %v cost %g, the best %g", got, c, best)
	}
	if !slices.Equal(place(total, weights, steps+1), all(steps)) {
		t.Error("more I-steps than steps are not all of them")
	}
}

// TestLearn holds that the weights at I-steps are 0, and forecast what can be forecast.
func TestLearn(t *testing.T) {
	g := curves(12, straight, straight)
	f := learn(g, []int{0, 1, 5})
	for _, p := range []int{0, 1, 5} {
		for n := range 2 {
			for i := range terms {
				if w := f.Weights[(p*2+n)*terms+i]; w != 0 {
					t.Errorf("weight %g at I-step %d", w, p)
				}
			}
		}
	}
	for n := range 2 {
		w := f.Weights[(8*2+n)*terms:][:terms]
		for i := range 3 {
			got := float64(w[0])*straight(5)[i] + float64(w[1])*straight(1)[i] + float64(w[2])*straight(0)[i]
			if want := straight(8)[i]; math.Abs(got-want) > 1e-3 {
				t.Errorf("token %d, component %d: forecast %g, want %g", n, i, got, want)
			}
		}
	}
}
