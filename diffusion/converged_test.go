package diffusion

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// predictMixture predicts the noise in data of two modes on the linear schedule.
func predictMixture(t *testing.T) (Schedule, func(eps, x []float32, timestep float64) error) {
	t.Helper()
	schedule, err := Linear(Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	return schedule, func(eps, x []float32, timestep float64) error {
		level := levelOfLogSNR(schedule.LogSNR(timestep))
		for k, v := range x {
			eps[k] = float32(twoModes.epsilon(float64(v), level))
		}
		return nil
	}
}

// TestConverge checks the solution against one in float64 of another method, at the timesteps of a
// sampler, at one alone and at timesteps next to each other, and that its error estimate covers its
// error.
func TestConverge(t *testing.T) {
	schedule, predict := predictMixture(t)
	every20th := make([]float64, 50)
	for k := range every20th {
		every20th[k] = float64(980 - 20*k)
	}
	start := []float32{-2, -1, 0.3, 1, 2}
	for name, timesteps := range map[string][]float64{
		"ddim50":       every20th,
		"one":          {999},
		"half way":     {500, 12.5},
		"uneven":       {999, 998, 997.5, 400, 1, 0.5, 0},
		"down to zero": {10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Converge(schedule, timesteps, start, 200, predict)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.X) != len(timesteps) || !slices.Equal(c.X[0], start) {
				t.Fatalf("%d solutions that start with %v, want %d with %v", len(c.X), c.X[0], len(timesteps), start)
			}
			from, zero := levelOfLogSNR(schedule.LogSNR(timesteps[0])), levelOfLogSNR(schedule.LogSNR(0))
			worst := 0.0
			for k, x := range start {
				for i, timestep := range timesteps {
					want := twoModes.flow(float64(x), from, levelOfLogSNR(schedule.LogSNR(timestep)))
					worst = max(worst, math.Abs(float64(c.X[i][k])-want))
				}
				x0 := twoModes.flow(float64(x), from, zero)
				x0 = (x0 - zero.Sigma*twoModes.epsilon(x0, zero)) / zero.Alpha
				worst = max(worst, math.Abs(float64(c.Final[k])-x0))
			}
			t.Logf("error %.2g, estimate %.2g, %d evaluations", worst, c.Error, c.Evaluations)
			// Some 400 roundings of x, of size 2, add up to some 20 units of its last place.
			const rounding = 20 * 2 * 0x1p-24
			if worst > 2*rounding || c.Error > 4e-5 || worst > c.Error+rounding {
				t.Errorf("error %.2g, estimate %.2g", worst, c.Error)
			}
		})
	}
}

// TestConvergeEstimate checks that the estimate tells that the steps are too few.
func TestConvergeEstimate(t *testing.T) {
	schedule, predict := predictMixture(t)
	start := []float32{-2, -1, 0.3, 1, 2}
	truth, err := Converge(schedule, []float64{999}, start, 400, predict)
	if err != nil {
		t.Fatal(err)
	}
	for _, steps := range []int{10, 20, 40} {
		c, err := Converge(schedule, []float64{999}, start, steps, predict)
		if err != nil {
			t.Fatal(err)
		}
		if d := largestDifference(c.Final, truth.Final); d > c.Error {
			t.Errorf("%d steps: error %.2g, estimate %.2g", steps, d, c.Error)
		}
		if want := steps + 1 + steps/2 + 1; c.Evaluations != want {
			t.Errorf("%d steps: %d evaluations, want %d", steps, c.Evaluations, want)
		}
	}
}

func TestConvergeErrors(t *testing.T) {
	schedule, predict := predictMixture(t)
	failure := errors.New("no network")
	for _, test := range []struct {
		timesteps []float64
		steps     int
		predict   func(eps, x []float32, timestep float64) error
		want      string
	}{
		{nil, 10, predict, "at no timestep"},
		{[]float64{999}, 0, predict, "in 0 steps: want 1 or more"},
		{[]float64{1000}, 10, predict, "timestep 1000: want 0 to 999"},
		{[]float64{math.NaN()}, 10, predict, "timestep NaN: want 0 to 999"},
		{[]float64{500, 500}, 10, predict, "timestep 500 after 500: want falling timesteps"},
		{[]float64{500}, 10, func(_, _ []float32, _ float64) error { return failure }, "no network"},
	} {
		t.Run(test.want, func(t *testing.T) {
			_, err := Converge(schedule, test.timesteps, []float32{1}, test.steps, test.predict)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
