package diffusion

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// recordedSolvers are the settings of the recorded runs and tables, by their names.
type recordedSolvers struct {
	Runs, Tables map[string]Sampling
}

func readSolvers(t *testing.T) recordedSolvers {
	t.Helper()
	raw, err := os.ReadFile("testdata/solvers.json")
	if err != nil {
		t.Fatal(err)
	}
	var r recordedSolvers
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func mustMultistep(t testing.TB, s Sampling) *Multistep {
	t.Helper()
	sampler, err := s.New(Network{})
	if err != nil {
		t.Fatal(err)
	}
	m, ok := sampler.(*Multistep)
	if !ok {
		t.Fatalf("%+v: a %T, want a *Multistep", s, sampler)
	}
	return m
}

// TestSolverTables checks the timesteps and noise levels of every spacing against diffusers'. Its
// tables are float32; whole timesteps are equal.
func TestSolverTables(t *testing.T) {
	ref := readTensors(t, "solver_tables")
	for name, s := range readSolvers(t).Tables {
		t.Run(name, func(t *testing.T) {
			m := mustMultistep(t, s)
			if ref.where[name+".timesteps"].DType == "I64" {
				want := ref.i64(name + ".timesteps")
				got := make([]int64, len(m.steps))
				for k, step := range m.steps {
					got[k] = int64(step.timestep)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("timesteps %v, want %v", got, want)
				}
			} else {
				for k, want := range ref.f32(name + ".timesteps") {
					// A float32 sigma of 1e-7 relative error lies within 1e-5 of its timestep where
					// the curve is flattest; 3e-7 relative of 999 is more.
					if got := m.steps[k].timestep; math.Abs(got-float64(want)) > 3e-7*999 {
						t.Errorf("timestep %d: %v, want %v", k, got, want)
					}
				}
			}
			if _, ok := ref.where[name+".sigmas"]; ok {
				for k, want := range ref.f32(name + ".sigmas") {
					if got := m.Sigma(len(m.steps) - 1 - k); !within(got, float64(want), 3e-7) {
						t.Errorf("sigma %d: %v, want %v", k, got, want)
					}
				}
			}
			if _, ok := ref.where[name+".init_noise_sigma"]; ok {
				// Recorded for x/Alpha.
				got, want := float64(m.start)/m.steps[0].level.Alpha, ref.f32(name + ".init_noise_sigma")[0]
				if !within(got, float64(want), 3e-7) {
					t.Errorf("starting noise %v, want %v", got, want)
				}
			}
		})
	}
}

// TestSolverRuns drives every recorded run by the outputs that give the recorded x_0 at the
// solver's own x, whose errors die away as they do under the network.
//
// The tolerance is 5e-5 of the step's largest |x|, or of 1: diffusers itself, in float32, is up to
// 3e-5 from its formulas. The outputs' errors are less: one derived from float32 x and x_0 is wrong
// by 2^-24 (|x| + Alpha |x_0|)/Sigma, and moves x by at most Sigma times that.
func TestSolverRuns(t *testing.T) {
	ref := readTensors(t, "solver_runs")
	runs := readSolvers(t).Runs
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		t.Run(name, func(t *testing.T) { checkRun(t, ref, name, runs[name]) })
	}
}

func checkRun(t *testing.T, ref tensors, name string, s Sampling) {
	m := mustMultistep(t, s)
	x, x0 := ref.f32(name+".x"), ref.f32(name+".pred_x0")
	start := ref.f32("x_T")
	n := len(start)
	if len(x) != n*m.Steps() {
		t.Fatalf("%d evaluations, want %d", m.Steps(), len(x)/n)
	}
	var noise, corrected []float32
	if _, ok := ref.where[name+".noise"]; ok {
		noise = ref.f32(name + ".noise")
	}
	if _, ok := ref.where[name+".corrected"]; ok {
		corrected = ref.f32(name + ".corrected")
	}
	if m.DrawsNoise() != (noise != nil) {
		t.Errorf("draws noise: %v", m.DrawsNoise())
	}
	// The samplers of sigma are recorded as x/Alpha.
	scaled := slices.Contains([]string{"euler", "euler_a", "lms"}, s.Sampler)
	tr := NewTrajectory(m, start)
	out := make([]float32, n)
	for k := range m.steps {
		level, next := m.Level(tr.Index()), m.Level(tr.Index()-1)
		at := k * n
		for j := range out {
			out[j] = float32((float64(tr.X()[j]) - level.Alpha*float64(x0[at+j])) / level.Sigma)
		}
		if to := m.steps[k].moves[0].to; s.Clip && k < len(m.steps)-1 {
			for j := range out {
				out[j] = (x[at+j] - to.x0*x0[at+j]) / to.kept[0] // x_0 is clamped, x is not
			}
		}
		var z []float32
		if noise != nil {
			z = noise[at : at+n]
		}
		tr.Step(out, z)
		closeTo(t, "x", k, tr.X(), x[at:at+n], scaled, next.Alpha)
		closeTo(t, "x_0", k, tr.PredXStart(), x0[at:at+n], false, 1)
		if corrected != nil && k > 0 {
			closeTo(t, "corrected", k, tr.base, corrected[at:at+n], false, 1)
		}
	}
}

// closeTo checks values against recorded ones, which are divided by alpha if scaled.
func closeTo(t *testing.T, what string, k int, got, want []float32, scaled bool, alpha float64) {
	t.Helper()
	largest := 1.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for j, w := range want {
		g := float64(got[j])
		if scaled {
			g /= alpha
		}
		if d := math.Abs(g - float64(w)); !(d <= 5e-5*largest) {
			t.Fatalf("step %d: %s[%d] = %v, want %v", k, what, j, g, w)
		}
	}
}

// TestSolverNames checks that every sampler and every named spacing has a recorded run or table,
// but for those that diffusers has not.
func TestSolverNames(t *testing.T) {
	seen := map[string]bool{}
	r := readSolvers(t)
	for _, s := range []map[string]Sampling{r.Runs, r.Tables} {
		for _, s := range s {
			seen[s.Sampler] = true
			for name := range strings.SplitSeq(s.Spacing, "+") {
				seen[name] = true
			}
		}
	}
	for _, name := range append(Methods(), Spacings()...) {
		if !seen[name] && !slices.Contains([]string{"ddpm", "heun", odeName, sdeName, learnedName, spacingLogSNR, spacingQuadratic}, name) {
			t.Errorf("%s is not recorded", name)
		}
	}
}
