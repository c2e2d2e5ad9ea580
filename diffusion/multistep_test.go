package diffusion

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// solvers returns every solver with every choice that it has, on a spacing.
func solvers(spacing string, steps int) []Sampling {
	var all []Sampling
	for _, m := range methods {
		if m.name == "ddpm" || m.name == learnedName { // which has steps of its own
			continue
		}
		for order := min(1, m.order); order <= m.highest; order++ {
			for _, variant := range slices.Concat([]string{""}, m.variants[min(1, len(m.variants)):]) {
				for _, final := range []string{FinalZero, FinalSigmaMin} {
					s := Sampling{
						Sampler: m.name,
						Order:   order,
						Variant: variant,
						Final:   final,
						Spacing: spacing,
						Steps:   steps,
					}
					all = append(all, s)
					if m.corrects {
						s.Predict = PredictEps
						all = append(all, s)
					}
					if m.lower {
						s.NoLowerOrderFinal = true
						all = append(all, s)
					}
				}
			}
		}
	}
	return all
}

func describe(s Sampling) string {
	return fmt.Sprintf("%s,%d,%s,%s,%s,%q,%d,%v",
		s.Sampler, s.Order, s.Variant, s.Predict, s.Final, s.Spacing, s.Steps, s.NoLowerOrderFinal)
}

// followed are the spacings whose points are where the steps go: not so for diffusers' DDIM and
// PNDM.
func followed(s Sampling) bool {
	return s.Sampler != "ddim" && s.Sampler != "pndm" || !slices.Contains(timestepSpacings, s.Spacing)
}

var allSpacings = append(Spacings(), "", strideSpacing, "leading+karras", "trailing+beta", "linspace+exponential")

// TestSolversOnALine checks, on every spacing and with very few and very many steps, that every
// deterministic solver keeps to Alpha*x_0 + Sigma*noise where x_0 and the noise are always
// predicted right: the combinations of past predictions are means.
func TestSolversOnALine(t *testing.T) {
	data, noise := []float32{-0.9, 0.1, 0.7}, []float32{0.3, -2, 1.1}
	for _, spacing := range allSpacings {
		for _, steps := range []int{1, 2, 3, 4, 14, 15, 50, 1000} {
			for _, s := range solvers(spacing, steps) {
				if steps == 1000 && (s.Variant != "" || s.NoLowerOrderFinal) {
					continue // for time's sake
				}
				if s.forFlows() {
					continue // see TestFlowsOnALine
				}
				sampler, err := s.New(Network{})
				if err != nil {
					checkRefusal(t, s, err)
					continue
				}
				m, ok := sampler.(*Multistep)
				if !ok || m.DrawsNoise() || !followed(s) {
					continue
				}
				if err := followLine(m, m.Steps()-1, data, noise); err != nil {
					t.Errorf("%s: %v", describe(s), err)
				}
			}
		}
	}
}

// checkRefusal checks that only what has no meaning was refused.
func checkRefusal(t *testing.T, s Sampling, err error) {
	t.Helper()
	var field *FieldError
	ok := errors.As(err, &field)
	switch {
	case s.Spacing == strideSpacing && strings.Contains(err.Error(), "no whole stride"):
	case ok && field.Field == "Steps" && s.Spacing == "leading+karras" || s.Spacing == "leading" && s.Steps == 1000:
	case ok && field.Field == "Spacing" && strings.Contains(s.Spacing, "+"):
	case ok && field.Field == "Spacing" && s.Sampler == "pndm" && followed(s):
	case ok && field.Field == "Variant" && s.Variant == "prk" && (s.Steps < 4 || followed(s)):
	default:
		t.Errorf("%s: %v", describe(s), err)
	}
}

// followLine runs m from index i down, and returns an error where x leaves the line.
func followLine(m *Multistep, i int, data, noise []float32) error {
	at := func(l Level, k int) float64 { return l.Alpha*float64(data[k]) + l.Sigma*float64(noise[k]) }
	x := make([]float32, len(data))
	tr := NewTrajectory(m, x)
	tr.Seek(i)
	for k := range x {
		tr.X()[k] = float32(at(m.Level(i), k))
	}
	for tolerance := 0.0; !tr.Done(); {
		before := m.LogSNR(tr.Index())
		tr.Step(noise, nil)
		next := m.Level(tr.Index())
		if !(next.LogSNR() > before-1e-9) {
			return fmt.Errorf("step %d: log-SNR %v after %v", tr.Index()+1, next.LogSNR(), before)
		}
		tolerance = tolerance*next.Alpha/m.Level(tr.Index()+1).Alpha + 4*0x1p-24*3*gain(m, tr)
		for k, got := range tr.X() {
			if want := at(next, k); !(math.Abs(float64(got)-want) < tolerance) {
				return fmt.Errorf("step %d: x[%d] = %v, want %v to %.2g", tr.Index()+1, k, got, want, tolerance)
			}
		}
	}
	return nil
}

// gain bounds how a trajectory's last step multiplies the rounding of x, of size 3 at most, and of
// what was predicted from it. Errors before it grow as x's share of data does, since predictions of
// noise do not answer them.
func gain(m *Multistep, tr *Trajectory) float64 {
	k := m.Steps() - 2 - tr.Index()
	mv := m.steps[k].move(tr.taken - 1)
	sum := 0.0
	for _, w := range mv.to.kept {
		sum += math.Abs(float64(w))
	}
	if m.keeps == predictedX0 {
		sum /= m.steps[max(0, k-len(mv.to.kept)+1)].level.Alpha
	}
	return math.Abs(float64(mv.to.x)) + math.Abs(float64(mv.to.x0))/m.steps[k].level.Alpha + sum
}

// TestSeekOnALine checks that solvers start anywhere, without a past.
func TestSeekOnALine(t *testing.T) {
	data, noise := []float32{-0.9, 0.1, 0.7}, []float32{0.3, -2, 1.1}
	for _, s := range append(solvers(spacingLogSNR, 12), solvers("", 12)...) {
		sampler, err := s.New(Network{})
		if err != nil {
			continue
		}
		if m, ok := sampler.(*Multistep); ok && !m.DrawsNoise() {
			for i := range m.Steps() {
				if err := followLine(m, i, data, noise); err != nil {
					t.Errorf("%s from index %d: %v", describe(s), i, err)
				}
			}
		}
	}
	// The Runge-Kutta steps of pndm need a recorded spacing. Where the stride divides 1000 it
	// follows its points.
	m := mustMultistep(t, Sampling{Sampler: "pndm", Variant: "prk", Spacing: "leading", Steps: 10})
	for i := range m.Steps() {
		if err := followLine(m, i, data, noise); err != nil {
			t.Errorf("prk from index %d: %v", i, err)
		}
	}
}

// TestSolversClip checks that clamped predictions of x_0 bring data outside of [-1,1] back to it,
// in solvers of noise too, which then extrapolate the noise that the clamped x_0 implies.
func TestSolversClip(t *testing.T) {
	outside, noise := float32(1.5), []float32{0.5}
	for _, s := range solvers(spacingLogSNR, 12) {
		if s.Final != FinalZero {
			continue
		}
		s.Clip = true
		sampler, err := s.New(Network{})
		if err != nil {
			continue
		}
		tr := NewTrajectory(sampler, noise)
		for i := sampler.Steps() - 1; i >= 0; i-- {
			// The network keeps predicting the noise by which x_0 is outside.
			sigma := sampler.Sigma(i)
			alpha := 1 / math.Sqrt(1+sigma*sigma)
			tr.Step([]float32{(tr.X()[0] - float32(alpha)*outside) / float32(sigma*alpha)}, []float32{0})
			if x0 := tr.PredXStart()[0]; x0 != 1 {
				t.Fatalf("%s: predicted x_0 %v at index %d, want 1", describe(s), x0, i)
			}
		}
		if x := tr.X()[0]; math.Abs(float64(x)-1) > 1e-3 {
			t.Errorf("%s: ends at %v, want 1", describe(s), x)
		}
	}
}

// TestEqualByConstruction checks solvers that are the same by different derivations.
func TestEqualByConstruction(t *testing.T) {
	line := func(s Sampling) Sampling { s.Spacing, s.Final = "linspace", FinalSigmaMin; return s }
	trailing := func(s Sampling) Sampling { s.Spacing = "trailing"; return s }
	smooth := func(s Sampling) Sampling { s.Spacing = spacingLogSNR; return s }
	predictor := Sampling{Sampler: "unipc", DisableCorrector: everyStep}
	for name, pair := range map[string][2]Sampling{
		"dpm heun is deis":   {line(Sampling{Sampler: "dpm", Variant: "heun"}), line(Sampling{Sampler: "deis"})},
		"dpm 1 is deis 1":    {line(Sampling{Sampler: "dpm", Order: 1}), line(Sampling{Sampler: "deis", Order: 1})},
		"dpm++ 1 is ddim":    {trailing(Sampling{Sampler: "dpm++", Order: 1}), trailing(Sampling{Sampler: "ddim"})},
		"dpm++ 1 is euler":   {smooth(Sampling{Sampler: "dpm++", Order: 1}), smooth(Sampling{Sampler: "euler"})},
		"euler is dpm 1":     {smooth(Sampling{Sampler: "euler"}), smooth(Sampling{Sampler: "dpm", Order: 1})},
		"lms 1 is euler":     {smooth(Sampling{Sampler: "lms", Order: 1}), smooth(Sampling{Sampler: "euler"})},
		"dpm++ is unipc bh2": {smooth(Sampling{Sampler: "dpm++"}), smooth(predictor)},
		"lu is logsnr":       {{Sampler: "euler", Spacing: "lu"}, smooth(Sampling{Sampler: "euler"})},
		"dpm++ is guided's":  {{Sampler: "dpm++", NoLowerOrderFinal: true}, {Sampler: "dpm++"}},
		"ddim is guided's":   {{Sampler: "ddim", Eta: 0.5, Final: FinalSigmaMin}, {Sampler: "ddim", Eta: 0.5}},
	} {
		t.Run(name, func(t *testing.T) {
			var runs [2][]float32
			for k, s := range pair {
				s.Steps = 20
				sampler, err := s.New(Network{})
				if err != nil {
					t.Fatal(err)
				}
				tr := NewTrajectory(sampler, normals(1, 64))
				for i := uint64(0); tr.Index() > 0; i++ {
					eps := make([]float32, 64)
					for j, v := range tr.X() {
						eps[j] = v*0.9 + 0.1*float32(math.Sin(float64(v)))
					}
					tr.Step(eps, normals(i, 64))
				}
				runs[k] = tr.X()
			}
			// The last step is left out: two of the pairs end at different levels. lu starts from
			// rounded alpha-bars and with a little less data, of which the larger relative error is
			// 8e-5.
			tolerance := 2e-5
			if pair[0].Spacing == "lu" {
				tolerance = 2e-4
			}
			for j, got := range runs[0] {
				if want := runs[1][j]; math.Abs(float64(got-want)) > tolerance*max(1, math.Abs(float64(want))) {
					t.Fatalf("x[%d] = %v and %v", j, got, want)
				}
			}
		})
	}
}

const everyStep = "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19"

// TestSmoothSpacings checks logsnr and quadratic: even where they say, from the last timestep to
// the first, with real timesteps that belong to their levels.
func TestSmoothSpacings(t *testing.T) {
	schedule, err := Linear(Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	for spacing, even := range map[string]func(m *Multistep, i int) float64{
		spacingLogSNR:    func(m *Multistep, i int) float64 { return m.LogSNR(i) },
		spacingQuadratic: func(m *Multistep, i int) float64 { return math.Sqrt(m.Timestep(i)) },
	} {
		for _, final := range []string{FinalZero, FinalSigmaMin} {
			t.Run(spacing+" "+final, func(t *testing.T) {
				m := mustMultistep(t, Sampling{Sampler: "unipc", Spacing: spacing, Steps: 15, Final: final})
				first, last := m.Timestep(14), m.Timestep(0)
				if m.Steps() != 15 || first != 999 || (last == 0) != (final == FinalZero) {
					t.Errorf("%d steps from timestep %v to %v", m.Steps(), first, last)
				}
				if final == FinalSigmaMin && !within(m.LogSNR(-1), schedule.LogSNR(0), 1e-12) {
					t.Errorf("ends at log-SNR %v, want %v", m.LogSNR(-1), schedule.LogSNR(0))
				}
				if final == FinalZero {
					checkDDPM(t, m, Sampling{Sampler: "ddpm", Spacing: spacing, Steps: 15})
				}
				step := even(m, 13) - even(m, 14)
				fractions := 0
				for i := range 14 {
					if d := even(m, i) - even(m, i+1); !within(d, step, 1e-9) {
						t.Errorf("step %d is %v long, want %v", i, d, step)
					}
					if got, want := m.LogSNR(i), schedule.LogSNR(m.Timestep(i)); !within(got, want, 1e-9) {
						t.Errorf("log-SNR %v at timestep %v, want %v", got, m.Timestep(i), want)
					}
					if m.Timestep(i) != math.Trunc(m.Timestep(i)) {
						fractions++
					}
				}
				if fractions < 12 {
					t.Errorf("%d timesteps have a fraction, want 12 or more", fractions)
				}
			})
		}
	}
}

// checkDDPM checks that ddpm visits the timesteps and levels of a solver.
func checkDDPM(t *testing.T, m *Multistep, s Sampling) {
	t.Helper()
	sampler, err := s.New(Network{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Steps() {
		if sampler.Timestep(i) != m.Timestep(i) || !within(sampler.LogSNR(i), m.LogSNR(i), 1e-9) {
			t.Errorf("ddpm has log-SNR %v at timestep %v, want %v at %v",
				sampler.LogSNR(i), sampler.Timestep(i), m.LogSNR(i), m.Timestep(i))
		}
	}
}

func TestSolverErrors(t *testing.T) {
	for _, test := range []struct {
		sampling Sampling
		field    string
		want     string
	}{
		{Sampling{Sampler: "plms"}, "Sampler", "sampler plms: want ddpm, ddim, dpm++, dpm, sde-dpm++"},
		{Sampling{Spacing: "sqrt"}, "Spacing", "spacing sqrt: want a list such as 10,15,20, ddim, linspace, leading"},
		{Sampling{Spacing: "logsnr+karras"}, "Spacing", "spacing logsnr+karras: want"},
		{Sampling{Sampler: "unipc", Spacing: "leading+karras"}, "Spacing", "want karras alone: sampler"},
		{Sampling{Sampler: "pndm", Spacing: "karras"}, "Spacing", "want linspace, leading or trailing"},
		{Sampling{Sampler: "unipc", Spacing: "logsnr", Steps: 1001}, "Steps", "steps 1001: want 1 to 1000"},
		{Sampling{Sampler: "unipc", Spacing: "logsnr", Steps: -1}, "Steps", "steps -1: want 1 to 1000"},
		{Sampling{Sampler: "unipc", Spacing: "leading", Steps: 1000}, "Steps", "want 1 to 999 with the spacing"},
		{Sampling{Sampler: "unipc", Spacing: "10,15", Steps: 24}, "Steps", "want 25, the sum of the sections 10,15"},
		{Sampling{Sampler: "unipc", Spacing: "leading", Steps: 10, StepsOffset: 100}, "StepsOffset", "want 0 to 99"},
		{Sampling{Sampler: "unipc", Spacing: "leading", Steps: 10, StepsOffset: -1}, "StepsOffset", "want 0 to 99"},
		{Sampling{Sampler: "unipc", Spacing: "trailing", StepsOffset: 1}, "StepsOffset", "only the spacing leading"},
		{Sampling{Sampler: "ddpm", StepsOffset: 1}, "StepsOffset", "only the spacing leading"},
		{Sampling{Sampler: "ddim", Order: 2}, "Order", `want none with sampler "ddim", which has no choice`},
		{Sampling{Sampler: "unipc", Order: 4}, "Order", `order 4: want 1 to 3 with sampler "unipc"`},
		{Sampling{Sampler: "sde-dpm", Order: 3}, "Order", "want 1 to 2"},
		{Sampling{Sampler: "lms", Order: -1}, "Order", "want 1 to 4"},
		{Sampling{Sampler: "heun", Variant: "heun"}, "Variant", `want none with sampler "heun", which has no choice`},
		{Sampling{Sampler: "euler", Variant: "heun"}, "Variant", "want deterministic, stochastic"},
		{Sampling{Sampler: "unipc", Variant: "midpoint"}, "Variant", "variant midpoint: want bh2, bh1"},
		{Sampling{Sampler: "dpm++", Variant: strings.Repeat("x", 1e6)}, "Variant", "want midpoint, heun"},
		{Sampling{Sampler: "pndm", Variant: "prk", Spacing: "leading", Steps: 3}, "Variant", "more than 3 steps"},
		{Sampling{Sampler: "pndm", Variant: "prk"}, "Variant", "prk needs the spacing linspace, leading or trailing"},
		{Sampling{Sampler: "unipc", Final: "half"}, "Final", "final half: want zero or sigma_min"},
		{Sampling{Sampler: "ddpm", Final: FinalSigmaMin}, "Final", "want zero with sampler"},
		{Sampling{Sampler: "euler", NoLowerOrderFinal: true}, "NoLowerOrderFinal", "want false"},
		{Sampling{Sampler: "unipc", EulerAtFinal: true}, "EulerAtFinal", "want false"},
		{Sampling{Sampler: "dpm", Predict: PredictEps}, "Predict", "has no choice"},
		{Sampling{Sampler: "unipc", Predict: "v"}, "Predict", "want x0 or eps"},
		{Sampling{Sampler: "deis", DisableCorrector: "0"}, "DisableCorrector", "has no choice"},
		{Sampling{Sampler: "unipc", DisableCorrector: "0,-1"}, "DisableCorrector", "want steps counted from 0"},
		{Sampling{Sampler: "unipc", Eta: 0.5}, "Eta", "only ddim has"},
		{Sampling{Spacing: "leading", Eta: math.Inf(1)}, "Eta", "want 0 to 1"},
	} {
		t.Run(test.field+" "+describe(test.sampling)[:20], func(t *testing.T) {
			err := test.sampling.Validate()
			var field *FieldError
			if !errors.As(err, &field) || field.Field != test.field || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%.400v, want field %s and %q", err, test.field, test.want)
			}
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestPlainOptions checks that settings which mean the same are equal with defaults.
func TestPlainOptions(t *testing.T) {
	want := Sampling{Sampler: "unipc", Spacing: spacingLogSNR}.WithDefaults()
	said := Sampling{Sampler: "unipc", Spacing: spacingLogSNR, Steps: DefaultSteps,
		Order: 2, Variant: "bh2", Predict: PredictX0, Final: FinalZero}
	if got := said.WithDefaults(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	said.Order = 3
	if got := said.WithDefaults(); got == want || got.Order != 3 {
		t.Errorf("%+v: order 3 is no default", got)
	}
}
