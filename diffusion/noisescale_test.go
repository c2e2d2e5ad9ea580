package diffusion

import (
	"fmt"
	"math"
	"testing"
)

// minit2i is a network as MiniT2I's: it predicts the clean image, noise has a deviation of 2, and
// 1-t counts as 0.05 at least.
var minit2i = Network{
	Schedule:   LinearPath.Schedule(),
	Prediction: PredictSample,
	NoiseScale: 2,
	Floor:      0.05,
}

// clean1 stands for such a network.
func clean1(x float64) float64 { return math.Tanh(x-0.3)/2 + 0.1 }

// follow samples one value with clean1 from standard normal noise.
func follow(s Sampler, noise float32) float64 {
	tr := NewTrajectory(s, []float32{noise})
	for !tr.Done() {
		tr.Step([]float32{float32(clean1(float64(tr.X()[0])))}, nil)
	}
	return float64(tr.X()[0])
}

// TestNoiseScaleEuler checks Euler's method on such a network against the loop that defines it.
func TestNoiseScaleEuler(t *testing.T) {
	for _, steps := range []int{4, 20, 100} {
		sampler, err := Sampling{Sampler: "euler", Steps: steps}.New(minit2i)
		if err != nil {
			t.Fatal(err)
		}
		for _, noise := range []float32{-1.5, 0.2, 0.9} {
			x := 2 * float64(noise)
			for i := range steps {
				at := float64(i) / float64(steps)
				x += (clean1(x) - x) / max(1-at, 0.05) / float64(steps)
			}
			if got := follow(sampler, noise); math.Abs(got-x) > 1e-5 {
				t.Errorf("%d steps from %g: %g, want %g", steps, noise, got, x)
			}
		}
	}
}

// TestNoiseScaleConverges checks that every solver comes to the solution of the floored velocity,
// and that the converged one is it.
func TestNoiseScaleConverges(t *testing.T) {
	const fine, noise = 200_000, 0.7
	want := 2 * noise
	for i := range fine {
		want += (clean1(want) - want) / max(1-float64(i)/fine, 0.05) / fine
	}
	for _, s := range []Sampling{
		{Sampler: "euler", Steps: 900},
		{Sampler: "heun", Steps: 400},
		{Sampler: "ode", Variant: "rk4", Steps: 100},
		{Sampler: "ode", AbsTol: 1e-8, RelTol: 1e-7},
		{Sampler: "dpm++", Steps: 300},
		{Sampler: "unipc", Steps: 300},
		{Sampler: "ddim", Steps: 900},
	} {
		t.Run(fmt.Sprintf("%s %s", s.Sampler, s.Variant), func(t *testing.T) {
			sampler, err := s.New(minit2i)
			if err != nil {
				t.Fatal(err)
			}
			if got := follow(sampler, noise); math.Abs(got-want) > 1e-3 {
				t.Errorf("%g, want %g", got, want)
			}
		})
	}
	converged, _, err := Sampling{Sampler: "euler", Steps: 20}.Converging(minit2i)
	if err != nil {
		t.Fatal(err)
	}
	if got := follow(converged, noise); math.Abs(got-want) > 1e-4 {
		t.Errorf("converged: %g, want %g", got, want)
	}
}

// TestNoiseScaleReadings checks that a sample and its noise are read from a prediction at any level
// such that they make x, and are exact where the prediction is and no floor acts.
func TestNoiseScaleReadings(t *testing.T) {
	s, err := minit2i.Levels()
	if err != nil {
		t.Fatal(err)
	}
	const x0, noise = 0.4, -1.1
	for _, timestep := range []float64{1000, 700, 60, 50, 49, 10, 1} {
		l := s.Level(timestep)
		x := []float32{float32(l.Alpha*x0 + l.Sigma*noise)}
		gotX0, gotNoise := []float32{0}, []float32{0}
		s.PredictedX0(gotX0, x, []float32{x0}, timestep)
		s.Noise(gotNoise, x, []float32{x0}, timestep)
		if sum := l.Alpha*float64(gotX0[0]) + l.Sigma*float64(gotNoise[0]); math.Abs(sum-float64(x[0])) > 1e-5 {
			t.Errorf("timestep %g: x is %g, made of what was read %g", timestep, x[0], sum)
		}
		if exact := math.Abs(float64(gotNoise[0])-noise) < 1e-3; exact != (timestep >= 50) {
			t.Errorf("timestep %g: noise %g", timestep, gotNoise[0])
		}
		if got := s.Timestep(s.LogSNR(timestep)); timestep < 1000 && math.Abs(got-timestep) > 1e-6 {
			t.Errorf("timestep %g becomes %g", timestep, got)
		}
	}
	for _, n := range []Network{
		{NoiseScale: 2},
		{Schedule: "flow-linear", NoiseScale: -1},
		{Schedule: "flow-linear", Prediction: PredictVelocity, Floor: 0.05},
		{Schedule: "flow-gvp", Prediction: PredictSample, Floor: 0.05},
	} {
		if _, err := n.Levels(); err == nil {
			t.Errorf("%+v is taken", n)
		}
	}
}
