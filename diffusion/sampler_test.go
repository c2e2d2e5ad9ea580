package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// published are the samplers that round as the public code of guided diffusion does.
var published = []string{"ddpm", "ddim", "dpm++"}

func mustSampler(t testing.TB, p plan) Sampler {
	t.Helper()
	s, err := p.Sampler()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDDIMAgainstModelOutputs drives trajectories by a real model's recorded outputs: x and the
// predicted x_0 agree bit for bit.
func TestDDIMAgainstModelOutputs(t *testing.T) {
	ref := readTensors(t, "ddim_model_out")
	const images, n = 2, 4 * 8 * 8
	sampler := mustSampler(t, plan{Method: "ddim", Steps: "20"})
	x, x0, out, steps := ref.f32("x"), ref.f32("pred_xstart"), ref.f32("model_out"), ref.i64("timesteps")
	for image := range images {
		tr := NewTrajectory(sampler, ref.f32("x_T")[image*n:(image+1)*n])
		for p, step := range steps {
			if tr.Index() != len(steps)-1-p || tr.Timestep() != float64(step) {
				t.Fatalf("step %d: index %d, timestep %v, want %d", p, tr.Index(), tr.Timestep(), step)
			}
			at := p*images + image
			tr.Step(out[at*2*n:(at+1)*2*n], nil)
			if diff := cmp.Diff(x0[at*n:(at+1)*n], tr.PredXStart()); diff != "" {
				t.Fatalf("image %d, step %d: predicted x_0\n%s", image, p, diff)
			}
			if diff := cmp.Diff(x[at*n:(at+1)*n], tr.X()); diff != "" {
				t.Fatalf("image %d, step %d: x\n%s", image, p, diff)
			}
		}
		if !tr.Done() || tr.Timestep() != -1 {
			t.Errorf("image %d: not done, timestep %v", image, tr.Timestep())
		}
	}
}

// TestDDIMAgainstSamples drives one step at a time from recorded samples. Epsilon was not recorded;
// the predicted x_0 implies it.
func TestDDIMAgainstSamples(t *testing.T) {
	ref := readTensors(t, "dit_sampling")
	const n = 4 * 8 * 8
	for _, test := range []struct {
		steps string
		eta   float64
	}{{"10", 0.5}, {"ddim25", 0}} {
		key := fmt.Sprintf("ddim.steps_%s.eta_%.1f.", test.steps, test.eta)
		sampler := mustSampler(t, plan{Method: "ddim", Steps: test.steps, Eta: test.eta}).(DDIM)
		x, x0, steps := ref.f32(key+"x"), ref.f32(key+"pred_xstart"), ref.i64(key+"timesteps")
		var noise []float32
		if test.eta != 0 {
			noise = ref.f32(key + "noise")
		}
		before := ref.f32("noise_T")
		for p, step := range steps {
			i := sampler.Steps() - 1 - p
			if sampler.Timestep(i) != float64(step) {
				t.Fatalf("%s: timestep %v at step %d, want %d", key, sampler.Timestep(i), p, step)
			}
			tr := NewTrajectory(sampler, before)
			tr.index = i
			at, end := p*n, (p+1)*n
			var z []float32
			if noise != nil {
				z = noise[at:end]
			}
			tr.Step(impliedEpsilon(sampler.Process, before, x0[at:end], i), z)
			for k, want := range x[at:end] {
				// x_0 implied by that epsilon differs from the recorded one by the roundings of
				// both ways through it, and epsilon again by its share; a few more happen to the
				// sum.
				recip, recipM1 := sampler.recip(i)
				size := math.Abs(float64(recip*before[k])) + math.Abs(float64(x0[at+k]))
				tolerance := 8 * 0x1p-24 * (size*(1+1/float64(recipM1)) + math.Abs(float64(want)))
				if d := math.Abs(float64(tr.X()[k] - want)); d > tolerance {
					t.Fatalf("%s step %d: x[%d] = %v, want %v (tolerance %.2g)", key, p, k, tr.X()[k], want, tolerance)
				}
			}
			before = x[at:end]
		}
	}
}

// impliedEpsilon is the epsilon that gives x_0 at index i.
func impliedEpsilon(p *Process, x, x0 []float32, i int) []float32 {
	a := 1 / p.AlphaCumprod(i)
	eps := make([]float32, len(x))
	for k := range eps {
		eps[k] = float32((float64(x[k])*math.Sqrt(a) - float64(x0[k])) / math.Sqrt(a-1))
	}
	return eps
}

// TestDDPMAgainstSamples: what a recorded step with learned variance adds to the posterior's mean
// is the recorded noise times a positive deviation. Feeding the variance value that this deviation
// implies gives the recorded sample back.
func TestDDPMAgainstSamples(t *testing.T) {
	ref := readTensors(t, "dit_sampling")
	const n = 4 * 8 * 8
	sampler := mustSampler(t, plan{Method: "ddpm", Steps: "10"}).(DDPM)
	const key = "ddpm.steps_10."
	x, x0, noise, steps := ref.f32(key+"x"), ref.f32(key+"pred_xstart"), ref.f32(key+"noise"), ref.i64(key+"timesteps")
	before, mean := ref.f32("noise_T"), make([]float32, n)
	for p, step := range steps {
		i := sampler.Steps() - 1 - p
		if sampler.Timestep(i) != float64(step) {
			t.Fatalf("timestep %v at step %d, want %d", sampler.Timestep(i), p, step)
		}
		at, end := p*n, (p+1)*n
		sampler.PosteriorMean(mean, x0[at:end], before, i)
		out := append(impliedEpsilon(sampler.Process, before, x0[at:end], i), make([]float32, n)...)
		low, high := sampler.posteriorLogClipped[i], math.Log(sampler.Beta(i))
		for k := range n {
			added := float64(x[at+k]) - float64(mean[k])
			rounding := 4 * 0x1p-24 * (math.Abs(float64(mean[k])) + math.Abs(float64(x[at+k])))
			if i == 0 {
				if math.Abs(added) > rounding {
					t.Fatalf("the last step adds %v at %d", added, k)
				}
				continue
			}
			deviation := added / float64(noise[at+k])
			if math.Abs(added) <= rounding {
				continue // no deviation can be read from it
			}
			if deviation <= 0 {
				t.Fatalf("step %d: adds %v at %d, noise is %v", p, added, k, noise[at+k])
			}
			out[n+k] = float32(2*(2*math.Log(deviation)-low)/(high-low) - 1)
		}
		tr := NewTrajectory(sampler, before)
		tr.index = i
		tr.Step(out, noise[at:end])
		recip, _ := sampler.recip(i)
		for k, want := range x[at:end] {
			size := math.Abs(float64(recip*before[k])) + math.Abs(float64(x0[at+k])) + math.Abs(float64(want))
			// The logarithm of the variance is of size 20 at most, so its rounding moves the
			// deviation by 20*2^-24 at most.
			tolerance := 8*0x1p-24*size + 20*0x1p-24*math.Abs(float64(want)-float64(mean[k])) + 4*0x1p-24*math.Abs(float64(mean[k]))
			if d := math.Abs(float64(tr.X()[k] - want)); d > tolerance {
				t.Fatalf("step %d: x[%d] = %v, want %v (tolerance %.2g)", p, k, tr.X()[k], want, tolerance)
			}
		}
		before = x[at:end]
	}
}

// TestVariances: with epsilon and x zero a step is the noise times the deviation.
func TestVariances(t *testing.T) {
	process := mustProcess(t, "linear", "10")
	for i := 1; i < process.Steps(); i++ {
		for _, test := range []struct {
			variance Variance
			value    float32
			want     float64
		}{
			{FixedSmall, 0, process.PosteriorVariance(i)},
			{FixedLarge, 0, process.Beta(i)},
			{LearnedRange, -1, process.PosteriorVariance(i)},
			{LearnedRange, 1, process.Beta(i)},
			{LearnedRange, 0, math.Sqrt(process.PosteriorVariance(i) * process.Beta(i))},
		} {
			tr := NewTrajectory(DDPM{Process: process, Variance: test.variance}, []float32{0})
			tr.index = i
			tr.Step([]float32{0, test.value}, []float32{1})
			// A logarithm of size 10 at most is rounded three times before half of it is exponentiated.
			if got, want := float64(tr.X()[0]), math.Sqrt(test.want); !within(got, want, 16*0x1p-24) {
				t.Errorf("index %d, variance %d with value %v: deviation %v, want %v", i, test.variance, test.value, got, want)
			}
		}
	}
	if VarianceOf(true) != LearnedRange || VarianceOf(false) != FixedLarge {
		t.Error("a model that learns no variance has the fixed large one")
	}
}

// TestDDIMIsDDPM: DDIM with eta 1 has the posterior's mean and variance.
func TestDDIMIsDDPM(t *testing.T) {
	process := mustProcess(t, "linear", "50")
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(1, process.Steps()-1).Draw(t, "index")
		value := rapid.Float32Range(-4, 4)
		x, eps, z := value.Draw(t, "x"), value.Draw(t, "epsilon"), value.Draw(t, "noise")
		step := func(s Sampler) float64 {
			tr := NewTrajectory(s, []float32{x})
			tr.index = i
			tr.Step([]float32{eps}, []float32{z})
			return float64(tr.X()[0])
		}
		ddim := step(DDIM{Process: process, Eta: 1})
		ddpm := step(DDPM{Process: process, Variance: FixedSmall})

		// DDIM computes its coefficients in float32 from alpha-bars rounded to 2^-25, so what it
		// subtracts from 1 is uncertain by that; the relative errors of sigma and of the
		// direction's square follow.
		const u = 0x1p-24
		ab, prev := process.AlphaCumprod(i), process.AlphaCumprod(i-1)
		variance := process.PosteriorVariance(i)
		sigmaError := u/(1-ab) + u/(1-prev) + u/(1-ab/prev) + 4*u
		rest := 1 - prev - variance
		restError := (2*u + 2*variance*sigmaError) / (2 * math.Sqrt(rest))
		recip, recipM1 := process.recip(i)
		x0 := math.Abs(float64(recip*x)) + math.Abs(float64(recipM1*eps))
		epsilonSize := x0 / float64(recipM1)
		tolerance := math.Sqrt(variance)*sigmaError*math.Abs(float64(z)) + restError*math.Abs(float64(eps)) +
			8*u*(x0+math.Sqrt(rest)*epsilonSize+math.Abs(float64(x))+math.Abs(float64(z)))
		if math.Abs(ddim-ddpm) > tolerance {
			t.Fatalf("ddim %v, ddpm %v, tolerance %.2g", ddim, ddpm, tolerance)
		}
	})
}

// gaussian is data N(mean, deviation^2), for which the best prediction of epsilon, and the path of
// the probability flow from noise, are known.
type gaussian struct{ mean, deviation float64 }

func (g gaussian) epsilon(x, ab float64) float64 {
	return math.Sqrt(1-ab) * (x - math.Sqrt(ab)*g.mean) / (ab*g.deviation*g.deviation + 1 - ab)
}

// flow takes x at alpha-bar a to alpha-bar b.
func (g gaussian) flow(x, a, b float64) float64 {
	spread := func(ab float64) float64 { return math.Sqrt(ab*g.deviation*g.deviation + 1 - ab) }
	return math.Sqrt(b)*g.mean + (x-math.Sqrt(a)*g.mean)*spread(b)/spread(a)
}

// TestConvergence: on Gaussian data the deterministic samplers approach the exact flow, DDIM with
// first order and DPM-Solver++(2M) with second. The error is taken at timestep 333, which all these
// spacings visit.
func TestConvergence(t *testing.T) {
	data := gaussian{mean: 0.7, deviation: 0.4}
	for _, test := range []struct {
		method string
		order  float64
	}{{"ddim", 1}, {"dpm++", 2}} {
		worst := func(steps int) float64 {
			sampler := mustSampler(t, plan{Method: test.method, Steps: fmt.Sprint(steps)})
			process := mustProcess(t, "linear", fmt.Sprint(steps))
			start := []float32{-2, -1, 0.3, 1, 2}
			tr := NewTrajectory(sampler, start)
			eps := make([]float32, len(start))
			for tr.Timestep() != 333 {
				ab := process.AlphaCumprod(tr.Index())
				for k, x := range tr.X() {
					eps[k] = float32(data.epsilon(float64(x), ab))
				}
				tr.Step(eps, nil)
			}
			largest := 0.0
			for k, x := range tr.X() {
				exact := data.flow(float64(start[k]), process.AlphaCumprod(steps-1), process.AlphaCumprod(tr.Index()))
				largest = max(largest, math.Abs(float64(x)-exact))
			}
			return largest
		}
		coarse, fine := worst(28), worst(112) // 27 and 111 intervals
		order := math.Log(coarse/fine) / math.Log(111.0/27)
		t.Logf("%s: error %.2g in 28 steps, %.2g in 112: order %.2f", test.method, coarse, fine, order)
		if math.Abs(order-test.order) > 0.25 {
			t.Errorf("%s: order %.2f, want %v", test.method, order, test.order)
		}
	}
}

// TestShortRuns: the shortest runs end at the predicted x_0, and the last step needs no noise.
func TestShortRuns(t *testing.T) {
	for _, method := range published {
		for _, steps := range []string{"1", "2", "3"} {
			x := normals(1, 64)
			eta := 0.0
			if method == "ddim" {
				eta = 1
			}
			tr := NewTrajectory(mustSampler(t, plan{Method: method, Steps: steps, Eta: eta}), x)
			for k := uint64(2); !tr.Done(); k++ {
				z := normals(k+10, 64)
				if tr.Index() == 0 {
					z = nil
				}
				tr.Step(normals(k, 128), z)
			}
			// At the last step DDPM's coefficient of x and DDIM's of epsilon are zero, and that of
			// x_0 is 1, all exactly.
			if diff := cmp.Diff(tr.PredXStart(), tr.X()); diff != "" {
				t.Errorf("%s %s:\n%s", method, steps, diff)
			}
			for k, v := range tr.X() {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					t.Fatalf("%s %s: x[%d] = %v", method, steps, k, v)
				}
			}
		}
	}
}

func TestClipDenoised(t *testing.T) {
	for _, method := range published {
		tr := NewTrajectory(mustSampler(t, plan{Method: method, Steps: "5", ClipDenoised: true}), normals(1, 256))
		for !tr.Done() {
			tr.Step(make([]float32, 512), make([]float32, 256))
			clipped := 0
			for _, v := range tr.PredXStart() {
				if v < -1 || v > 1 {
					t.Fatalf("%s: predicted x_0 %v", method, v)
				}
				if v == 1 || v == -1 {
					clipped++
				}
			}
			if tr.Index() == 3 && clipped == 0 { // at the first step epsilon 0 implies |x_0| = 157 |x|
				t.Errorf("%s: nothing was clipped", method)
			}
		}
	}
}

// stepsOf returns steps, or for the method learned a number that it has.
func stepsOf(method, steps string) string {
	if method == learnedName {
		return "9"
	}
	return steps
}

// TestReset: a trajectory used again behaves as a new one, history included.
func TestReset(t *testing.T) {
	for _, method := range Methods() {
		sampler := mustSampler(t, plan{Method: method, Steps: stepsOf(method, "6")})
		run := func(tr *Trajectory, seed uint64) []float32 {
			for k := seed; !tr.Done(); k++ {
				tr.Step(normals(k, 128), normals(k+100, 64))
			}
			return append([]float32(nil), tr.X()...)
		}
		want := run(NewTrajectory(sampler, normals(5, 64)), 50)
		tr := NewTrajectory(sampler, normals(6, 64))
		run(tr, 60)
		tr.Reset(normals(5, 64))
		if diff := cmp.Diff(want, run(tr, 50)); diff != "" {
			t.Errorf("%s:\n%s", method, diff)
		}
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	for _, method := range Methods() {
		x, out, z := normals(1, 64), normals(2, 128), normals(3, 64)
		tr := NewTrajectory(mustSampler(t, plan{Method: method, Steps: stepsOf(method, "1000")}), x)
		step := func() {
			if tr.Done() {
				tr.Reset(x)
			}
			tr.Step(out, z)
		}
		if n := testing.AllocsPerRun(50, step); n != 0 {
			t.Errorf("%s: %v allocations a step", method, n)
		}
	}
}

func TestStepPanics(t *testing.T) {
	for name, test := range map[string]struct {
		plan       plan
		out, noise int
		steps      int
		want       string
	}{
		"output":   {plan{Method: "ddim", Steps: "3"}, 5, 4, 1, "model output has 5 values, want 4, or 8 with variance"},
		"variance": {plan{Method: "ddpm", Steps: "3"}, 4, 4, 1, "model output with learned variance has 4 values, want 8"},
		"noise":    {plan{Method: "ddpm", Steps: "3"}, 8, 0, 1, "noise has 0 values, want 4"},
		"eta":      {plan{Method: "ddim", Steps: "3", Eta: 1}, 8, 0, 1, "noise has 0 values, want 4"},
		"finished": {plan{Method: "ddim", Steps: "3"}, 4, 0, 4, "step of a finished trajectory"},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, test.want) {
					t.Errorf("%s: panic %v, want %q", name, got, test.want)
				}
			}()
			tr := NewTrajectory(mustSampler(t, test.plan), make([]float32, 4))
			for range test.steps {
				tr.Step(make([]float32, test.out), make([]float32, test.noise))
			}
		}()
	}
}
