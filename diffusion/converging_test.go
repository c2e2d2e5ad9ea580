package diffusion

import (
	"errors"
	"math"
	"testing"
)

// solve takes a sample of the mixture from starting noise to its end.
func solve(t *testing.T, m Sampler, start []float32, predict func(eps, x []float32, timestep float64) error) []float32 {
	t.Helper()
	tr, eps := NewTrajectory(m, start), make([]float32, len(start))
	for !tr.Done() {
		if err := predict(eps, tr.X(), tr.Timestep()); err != nil {
			t.Fatal(err)
		}
		tr.Step(eps, nil)
	}
	return tr.X()
}

// TestConverging checks the solution against one in float64 of another method, from where each
// sampler starts to where it ends, that half the steps tell its error, and that the samplers
// themselves come near to it as their steps grow.
func TestConverging(t *testing.T) {
	schedule, predict := predictMixture(t)
	start := []float32{-2, -1, 0.3, 1, 2}
	for name, s := range map[string]Sampling{
		"ddim":           {Sampler: "ddim", Steps: 50},
		"ddim's spacing": {Sampler: "ddim", Steps: 50, Spacing: "ddim"}, // starts at timestep 980
		"dpm++":          {Sampler: "dpm++", Steps: 20, Spacing: "logsnr"},
		"unipc":          {Sampler: "unipc", Order: 3, Steps: 20, Spacing: "logsnr"},
		"some noise left": {
			Sampler: "unipc",
			Steps:   20,
			Spacing: "logsnr",
			Final:   FinalSigmaMin,
		},
		"heun":  {Sampler: "heun", Steps: 40, Spacing: "karras"}, // scales the starting noise
		"clips": {Sampler: "ddim", Steps: 50, Clip: true},
	} {
		t.Run(name, func(t *testing.T) {
			sampler, err := s.New(Network{})
			if err != nil {
				t.Fatal(err)
			}
			fine, half, err := s.Converging(Network{})
			if err != nil {
				t.Fatal(err)
			}
			evaluations := 197
			if s.Final == FinalSigmaMin {
				evaluations--
			}
			if fine.Steps() != evaluations || half.Steps() != (evaluations+1)/2 {
				t.Errorf("%d and %d evaluations, want %d and half", fine.Steps(), half.Steps(), evaluations)
			}
			got, rough, near := solve(t, fine, start, predict), solve(t, half, start, predict), solve(t, sampler, start, predict)
			first := sampler.Timestep(sampler.Steps() - 1)
			from, zero := levelOfLogSNR(schedule.LogSNR(first)), levelOfLogSNR(schedule.LogSNR(0))
			for k, x := range start {
				want := twoModes.flow(float64(x*sampler.startScale()), from, zero)
				if s.Final != FinalSigmaMin {
					want = (want - zero.Sigma*twoModes.epsilon(want, zero)) / zero.Alpha
				}
				if s.Clip {
					want = min(max(want, -1), 1)
				}
				const rounding = 1e-5
				estimate := math.Abs(float64(got[k]) - float64(rough[k]))
				if d := math.Abs(float64(got[k]) - want); !s.Clip && d > estimate+rounding {
					t.Errorf("from %g: %g, want %g; the estimated error is %.2g", x, got[k], want, estimate)
				}
				if estimate > 4e-5 && !s.Clip {
					t.Errorf("from %g: half the steps make a difference of %.2g", x, estimate)
				}
				if d := math.Abs(float64(near[k]) - want); d > 0.1 {
					t.Errorf("from %g: the sampler itself is off by %.2g", x, d)
				}
			}
		})
	}
}

// TestConvergingStochastic checks that samplers that draw noise have no converged solution, and
// that Stochastic tells them as Multistep does.
func TestConvergingStochastic(t *testing.T) {
	for _, name := range Methods() {
		s := Sampling{Sampler: name, Steps: 15} // which the learned solver has, too
		network := Network{}
		if s.forFlows() {
			network = flowNetwork
		}
		sampler, err := s.New(network)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := sampler.(*Multistep); ok && m.DrawsNoise() != s.Stochastic() {
			t.Errorf("%s: stochastic %v, but draws noise %v", name, s.Stochastic(), m.DrawsNoise())
		}
		_, _, err = s.Converging(network)
		var stochastic *StochasticError
		if errors.As(err, &stochastic) != s.Stochastic() {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, test := range []struct {
		s    Sampling
		want string
	}{
		{Sampling{Sampler: "ddpm", Steps: 250}, "no converged solution: sampler ddpm adds noise at every step"},
		{Sampling{Steps: 50, Eta: 0.5}, "no converged solution: sampler ddim with eta 0.5 adds noise at every step"},
	} {
		if _, _, err := test.s.Converging(Network{}); err == nil || err.Error() != test.want {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
	if _, _, err := (Sampling{Steps: -1}).Converging(Network{}); err == nil {
		t.Error("no error for -1 steps")
	}
}
