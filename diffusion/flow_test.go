package diffusion

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// flowNetwork is a network as SiT's.
var flowNetwork = Network{Schedule: LinearPath.Schedule(), Prediction: PredictVelocity}

func mustFlow(t testing.TB, p Path, predicts Prediction) Schedule {
	t.Helper()
	s, err := Network{Schedule: p.Schedule(), Prediction: predicts}.Levels()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPaths checks each path's levels against its formulas in SiT's t, its rates and growth against
// finite differences, and that its log-SNR is inverted.
func TestPaths(t *testing.T) {
	level := map[Path]func(t float64) Level{
		LinearPath: func(t float64) Level { return Level{t, 1 - t} },
		GVPPath:    func(t float64) Level { return Level{math.Sin(math.Pi * t / 2), math.Cos(math.Pi * t / 2)} },
		VPPath: func(t float64) Level {
			a := math.Exp(-math.Pow(1-t, 2)*(20-0.1)/4 - (1-t)*0.1/2)
			return Level{a, math.Sqrt(1 - a*a)}
		},
	}
	near := func(got, want float64) bool { return math.Abs(got-want) <= 1e-6*max(1, math.Abs(want)) }
	for _, p := range Paths() {
		t.Run(string(p), func(t *testing.T) {
			s := mustFlow(t, p, "")
			for u := 0.001; u < 1; u += 0.037 {
				const h = 1e-6
				got, rate := p.level(u), p.rate(u)
				above, below := p.level(u+h), p.level(u-h)
				if want := level[p](1 - u); !near(got.Alpha, want.Alpha) || !near(got.Sigma, want.Sigma) {
					t.Errorf("level at %g: %v, want %v", u, got, want)
				}
				if a, b := (above.Alpha-below.Alpha)/(2*h), (above.Sigma-below.Sigma)/(2*h); !near(rate.Alpha, a) || !near(rate.Sigma, b) {
					t.Errorf("rate at %g: %v, want %g and %g", u, rate, a, b)
				}
				if want := -rate.Alpha / got.Alpha; !near(p.growth(u), want) {
					t.Errorf("growth at %g: %g, want %g", u, p.growth(u), want)
				}
				if want := p.growth(u)*got.Sigma*got.Sigma + got.Sigma*rate.Sigma; !near(p.diffusion(u), want) {
					t.Errorf("diffusion at %g: %g, want %g", u, p.diffusion(u), want)
				}
				if back := s.Timestep(s.LogSNR(1000 * u)); !near(back/1000, u) {
					t.Errorf("log-SNR at %g is that of %g", u, back/1000)
				}
			}
			if start, end := p.level(1), p.level(0); end != clean || p != VPPath && start != (Level{Sigma: 1}) {
				t.Errorf("from %v to %v", start, end)
			}
		})
	}
}

// TestReadings checks for all paths and predictions that the network's output for a known x_0 and
// noise is read as these and as the path's velocity.
func TestReadings(t *testing.T) {
	const data, noise = -0.7, 1.3
	for _, p := range Paths() {
		for _, predicts := range Predictions() {
			t.Run(fmt.Sprint(p, " ", predicts), func(t *testing.T) {
				s := mustFlow(t, p, predicts)
				for _, timestep := range []float64{990, 500, 3} {
					at := s.point(timestep)
					l, rate := at.level, p.rate(timestep/1000)
					x, velocity := l.Alpha*data+l.Sigma*noise, -rate.Alpha*data-rate.Sigma*noise
					out := outputOf(s, at, data, noise)
					r := s.read(at)
					for what, c := range map[string]struct {
						by   pair
						want float64
					}{"x_0": {r.x0, data}, "noise": {r.noise, noise}, "velocity": {r.velocity, velocity}} {
						if got := c.by.x*x + c.by.out*out; !(math.Abs(got-c.want) < 1e-9*max(1, math.Abs(c.want))) {
							t.Errorf("%s at %g: %g, want %g", what, timestep, got, c.want)
						}
					}
				}
			})
		}
	}
	if _, err := (Network{Prediction: PredictVelocity}).Levels(); err == nil || !strings.Contains(err.Error(), "only flows have a velocity") {
		t.Errorf("velocity of a schedule of betas: %v", err)
	}
	if _, err := (Network{Prediction: "v"}).Levels(); err == nil || !strings.Contains(err.Error(), "unknown prediction") {
		t.Errorf("unknown prediction: %v", err)
	}
}

// outputOf returns what the network predicts where x_0 and noise are known.
func outputOf(s Schedule, at point, data, noise float64) float64 {
	switch s.prediction {
	case PredictSample:
		return data
	case PredictScore:
		return -noise / at.level.Sigma
	case PredictVelocity, PredictFlow:
		rate := s.path.rate(s.time(at))
		v := -rate.Alpha*data - rate.Sigma*noise
		if s.prediction == PredictFlow {
			return -v
		}
		return v
	}
	return noise
}

// TestFlowsOnALine checks that every deterministic solver, on flows of the path that is a straight
// line, for every prediction, ends at x_0 where x_0 and noise are always predicted right, from
// noise alone.
func TestFlowsOnALine(t *testing.T) {
	data, noise := []float64{-0.9, 0.1, 0.7}, []float64{0.3, -2, 1.1}
	run := func(s Sampling, n Network) error {
		sampler, err := s.New(n)
		if err != nil {
			return err
		}
		levels, _ := n.Levels()
		end, x := Level{Alpha: 1}, make([]float32, len(data))
		if m, ok := sampler.(*Multistep); ok {
			end = m.Level(-1)
		}
		first := levels.Level(sampler.Timestep(sampler.Steps() - 1))
		if d, ok := sampler.(*Dopri5); ok {
			first, end = levels.Level(timestepOfTime(d.from)), levels.Level(timestepOfTime(d.to))
		}
		for k := range x {
			x[k] = float32((first.Alpha*data[k] + first.Sigma*noise[k]) / float64(sampler.startScale()))
		}
		tr, out := NewTrajectory(sampler, x), make([]float32, len(x))
		for !tr.Done() {
			at := levels.point(tr.Timestep())
			for k := range out {
				out[k] = float32(outputOf(levels, at, data[k], noise[k]))
			}
			tr.Step(out, nil)
		}
		for k, got := range tr.X() {
			// Where x_0 is predicted at alpha = 0.001 and the noise extrapolated, a rounding of 1e-7 in x
			// is divided by alpha and then multiplied by weights of some 10, at each of the first steps.
			tolerance := 2e-3
			if s.Predict == PredictEps {
				tolerance = 1e-2
			}
			if want := end.Alpha*data[k] + end.Sigma*noise[k]; !(math.Abs(float64(got)-want) < tolerance) {
				return fmt.Errorf("x[%d] = %v, want %v", k, got, want)
			}
		}
		return nil
	}
	for _, predicts := range Predictions() {
		for _, spacing := range []string{"", spacingLogSNR, spacingQuadratic} {
			for _, s := range solvers(spacing, 12) {
				if s.Stochastic() {
					continue
				}
				t.Run(string(predicts)+" "+describe(s), func(t *testing.T) {
					err := run(s, Network{Schedule: LinearPath.Schedule(), Prediction: predicts})
					if field := (*FieldError)(nil); errors.As(err, &field) {
						return // solvers has options that samplers do not
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestFlowsConverge checks that every deterministic solver, on every path, takes a mixture of two
// modes to where the probability-flow ODE does, and that the converged solution is nearest.
func TestFlowsConverge(t *testing.T) {
	start := []float32{-2, -1, 0.3, 1, 2}
	for _, p := range Paths() {
		for _, predicts := range []Prediction{PredictVelocity, PredictNoise, PredictSample} {
			n := Network{Schedule: p.Schedule(), Prediction: predicts}
			levels := mustFlow(t, p, predicts)
			predict := func(out, x []float32, timestep float64) error {
				at := levels.point(timestep)
				for k, v := range x {
					eps := float64(v)
					if at.level.Alpha > 0 {
						eps = twoModes.epsilon(float64(v), at.level)
					}
					x0 := (float64(v) - at.level.Sigma*eps) / at.level.Alpha
					if at.level.Alpha == 0 {
						x0 = (twoModes[0].mean + twoModes[1].mean) / 2
					}
					out[k] = float32(outputOf(levels, at, x0, eps))
				}
				return nil
			}
			for _, s := range []Sampling{
				{Sampler: "ddim", Steps: 400}, {Sampler: "dpm++", Steps: 60}, {Sampler: "unipc", Order: 3, Steps: 60},
				{Sampler: "deis", Steps: 60}, {Sampler: "lms", Steps: 100}, {Sampler: "heun", Steps: 60},
				{Sampler: "pndm", Steps: 60}, {Sampler: "euler", Steps: 400}, {Sampler: "ode"},
				{Sampler: "ode", Variant: "rk4", Steps: 40}, {Sampler: learnedName, Steps: 19},
			} {
				t.Run(fmt.Sprint(p, " ", predicts, " ", s.Sampler), func(t *testing.T) {
					sampler, err := s.New(n)
					if err != nil {
						t.Fatal(err)
					}
					fine, half, err := s.Converging(n)
					if err != nil {
						t.Fatal(err)
					}
					want, rough := solve(t, fine, start, predict), solve(t, half, start, predict)
					got := solve(t, sampler, start, predict)
					for k := range want {
						if d := math.Abs(float64(want[k] - rough[k])); d > 2e-3 {
							t.Errorf("from %g: half the steps make a difference of %.2g", start[k], d)
						}
						if d := math.Abs(float64(want[k] - got[k])); !(d < 0.06) {
							t.Errorf("from %g: %g, converged %g", start[k], got[k], want[k])
						}
					}
				})
			}
		}
	}
}

// TestSDEForms checks that the stochastic samplers take a normal distribution of data to itself, for
// every form of noise and last step.
func TestSDEForms(t *testing.T) {
	const images, deviation = 2000, 0.5
	for _, p := range Paths() {
		levels := mustFlow(t, p, PredictVelocity)
		for _, s := range []Sampling{
			{},
			{Form: FormSBDM, SampleEps: 0.01, LastStep: LastTweedie},
			{Form: FormConstant, FormScale: 0.5, LastStep: LastTweedie}, {Form: FormLinear, LastStep: LastTweedie},
			{Form: FormDecreasing, LastStep: LastEuler}, {Form: FormBell, Variant: "heun"}, {Variant: "heun", LastStep: LastTweedie},
		} {
			s.Sampler, s.Steps = sdeName, 80
			t.Run(fmt.Sprint(p, s.Form, s.Variant, s.LastStep), func(t *testing.T) {
				sampler, err := s.New(Network{Schedule: p.Schedule(), Prediction: PredictVelocity})
				if err != nil {
					t.Fatal(err)
				}
				tr := NewTrajectory(sampler, normals(1, images))
				out := make([]float32, images)
				for k := uint64(2); !tr.Done(); k++ {
					at := levels.point(tr.Timestep())
					variance := math.Pow(at.level.Alpha*deviation, 2) + math.Pow(at.level.Sigma, 2)
					for i, x := range tr.X() {
						x0 := float64(x) * at.level.Alpha * deviation * deviation / variance
						eps := float64(x) * at.level.Sigma / variance
						out[i] = float32(outputOf(levels, at, x0, eps))
					}
					tr.Step(out, normals(k, images))
				}
				sum := 0.0
				for _, x := range tr.X() {
					sum += float64(x) * float64(x)
				}
				if got := math.Sqrt(sum / images); math.Abs(got-deviation) > 0.03 {
					t.Errorf("deviation %.3f, want %g", got, deviation)
				}
			})
		}
	}
}

func TestFlowErrors(t *testing.T) {
	for _, test := range []struct {
		s       Sampling
		n       Network
		field   string
		message string
	}{
		{Sampling{Sampler: "ode"}, Network{}, "Sampler", "only flow models such as SiT"},
		{Sampling{Shift: 3}, Network{}, "Shift", "only flow models"},
		{Sampling{Sampler: "euler", Variant: "stochastic"}, Network{}, "Variant", "only flow models"},
		{Sampling{Spacing: "leading"}, flowNetwork, "Spacing", "linspace, karras, exponential or beta"},
		{Sampling{Spacing: "ddim"}, flowNetwork, "Spacing", "no timesteps to choose from"},
		{Sampling{Spacing: "linspace"}, Network{Schedule: "flow-gvp"}, "Spacing", "of the path Linear"},
		{Sampling{Sampler: "sde", Shift: 2}, flowNetwork, "Shift", "are not shifted"},
		{Sampling{Sampler: "sde", Form: "SBDM"}, flowNetwork, "Form", "infinite at t = 0"},
		{Sampling{Sampler: "sde", Form: "flat"}, flowNetwork, "Form", "want sigma, SBDM"},
		{Sampling{Sampler: "sde", LastStep: "first"}, flowNetwork, "LastStep", "want mean, tweedie"},
		{Sampling{Sampler: "sde", Steps: 1}, flowNetwork, "Steps", "2 or more"},
		{Sampling{Sampler: "ddim", Form: "SBDM"}, flowNetwork, "Form", `only sampler "sde" has it`},
		{Sampling{Sampler: "ode", Spacing: "karras"}, flowNetwork, "Spacing", "even in t"},
		{Sampling{Sampler: "ode", SampleEps: 0.7}, flowNetwork, "SampleEps", "0 to below 0.5"},
		{Sampling{Sampler: "ode", Variant: "rk4", RelTol: 1e-5}, flowNetwork, "RelTol", "dopri5 has tolerances"},
		{Sampling{Guidance: 2, GuidanceLow: 0.5, GuidanceHigh: 0.4}, flowNetwork, "GuidanceHigh", "above 0.5"},
		{Sampling{Shift: math.NaN()}, flowNetwork, "Shift", "a number above 0"},
	} {
		t.Run(test.field+" "+test.message, func(t *testing.T) {
			_, err := test.s.New(test.n)
			var field *FieldError
			if !errors.As(err, &field) || field.Field != test.field || !strings.Contains(err.Error(), test.message) {
				t.Errorf("%v, want field %s and %q", err, test.field, test.message)
			}
		})
	}
	for _, s := range []Sampling{{Sampler: "ode"}, {Sampler: "sde"}, {Shift: 2}, {ShiftByResolution: true}} {
		if err := s.Validate(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// TestGuidanceInterval checks where guidance acts.
func TestGuidanceInterval(t *testing.T) {
	g := Sampling{Guidance: 3, GuidanceLow: 0.2, GuidanceHigh: 0.7}.Guide()
	for timestep, want := range map[float64]float64{100: 1, 200: 3, 500: 3, 700: 3, 701: 1} {
		if got := g.ScaleAt(timestep); got != want {
			t.Errorf("scale %g at %g, want %g", got, timestep, want)
		}
	}
	if (Sampling{GuidanceLow: 0.2, GuidanceHigh: 0.7}).Guide().Enabled() {
		t.Error("an interval without guidance guides")
	}
}

// TestShift checks the time shift against its formula, and the shift of a resolution.
func TestShift(t *testing.T) {
	s, err := Sampling{Sampler: "euler", Steps: 4, Shift: 3}.New(flowNetwork)
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	for i := s.Steps() - 1; i >= 0; i-- {
		got = append(got, s.Timestep(i))
	}
	if want := []float64{1000, 900, 750, 500}; !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
		t.Errorf("timesteps %v, want %v", got, want)
	}
	if a, b := ResolutionMu(256), ResolutionMu(4096); math.Abs(a-0.5) > 1e-12 || math.Abs(b-1.15) > 1e-12 {
		t.Errorf("%g at 256 tokens and %g at 4096, want 0.5 and 1.15", a, b)
	}
}
