package calibrate

import (
	"context"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
)

// twoKinds predicts the noise of images whose pixels are independent, each of one of two normal
// distributions of equal weight.
func twoKinds(noise, y []float32, logSNR float64) {
	s := math.Exp(-logSNR)
	for i, v := range y {
		mean, weights := 0.0, 0.0 // of the pixel
		for _, kind := range []struct{ mean, deviation float64 }{{-0.8, 0.3}, {0.6, 0.2}} {
			variance := kind.deviation*kind.deviation + s*s
			d := float64(v) - kind.mean
			w := math.Exp(-d*d/(2*variance)) / math.Sqrt(variance)
			weights += w
			mean += w * (kind.mean + d*kind.deviation*kind.deviation/variance)
		}
		noise[i] = float32((float64(v) - mean/weights) / s)
	}
}

// solveTwoKinds returns the solution of images of twoKinds, and what a sampler makes of them.
func solveTwoKinds(t *testing.T, seed uint64, s diffusion.Sampling) (*solution, []float32) {
	t.Helper()
	const images, side = 16, 4
	run := func(s diffusion.Sampling, onState func(logSNR float64, x []float32)) []float32 {
		sampler, err := s.New(diffusion.Network{})
		if err != nil {
			t.Fatal(err)
		}
		var x []float32
		for i := range images {
			start := make([]float32, side*side)
			diffusion.NewStream(seed, uint64(i)).Normal(start)
			x = append(x, start...)
		}
		tr, noise := diffusion.NewTrajectory(sampler, x), make([]float32, len(x))
		for !tr.Done() {
			logSNR := sampler.LogSNR(tr.Index())
			onState(logSNR, append([]float32(nil), tr.X()...))
			y := make([]float32, len(x))
			add(y, math.Sqrt(1+math.Exp(-2*logSNR)), tr.X())
			twoKinds(noise, y, logSNR)
			tr.Step(noise, nil)
		}
		return tr.X()
	}
	out := &solution{images: images, size: side * side}
	var err error
	if out.schedule, err = diffusion.Linear(diffusion.Timesteps); err != nil {
		t.Fatal(err)
	}
	fine := diffusion.Sampling{
		Sampler:           "unipc",
		Order:             3,
		NoLowerOrderFinal: true,
		Spacing:           "logsnr",
		Steps:             solutionPoints,
	}
	out.final = run(fine, func(logSNR float64, x []float32) {
		out.logSNR, out.x = append(out.logSNR, logSNR), append(out.x, x)
	})
	var finals [][]float32
	for i := range images {
		finals = append(finals, out.final[i*out.size:(i+1)*out.size])
	}
	out.survival = newSurvival(finals, side, "ddim")
	return out, run(s, func(float64, []float32) {})
}

// TestSolverBeatsUniPC checks that a solver fitted to some images is nearer to the solution of
// others than UniPC of third order on log-SNR steps, and that moving its timesteps helps.
func TestSolverBeatsUniPC(t *testing.T) {
	const steps = 8
	unipc := diffusion.Sampling{Sampler: "unipc", Order: 3, Spacing: "logsnr", Steps: steps}
	seen, _ := solveTwoKinds(t, 1, unipc)
	unseen, byUniPC := solveTwoKinds(t, 2, unipc)
	predict := func(noise, y []float32, logSNR float64) error {
		twoKinds(noise, y, logSNR)
		return nil
	}
	quality := func(trials int) float64 {
		c := &Solver{Trials: trials, Ridge: 1e-6}
		nodes, err := c.place(predict, seen, startNodes(seen, steps), func(string, ...any) {})
		if err != nil {
			t.Fatal(err)
		}
		fit := newSolverRun(predict, seen, nodes, c.Ridge)
		if err := fit.finish(); err != nil {
			t.Fatal(err)
		}
		test := newSolverRun(predict, unseen, nodes, c.Ridge)
		test.given = fit.weights
		if err := test.finish(); err != nil {
			t.Fatal(err)
		}
		return test.fidelity(2).Mean
	}
	other := newSolverRun(predict, unseen, []float64{0}, 1)
	other.y = append(other.y, byUniPC)
	standard, still, moved := other.fidelity(2).Mean, quality(0), quality(150)
	t.Logf("UniPC %.2f dB, learned weights %.2f dB, moved timesteps %.2f dB", standard, still, moved)
	if moved < standard+3 || moved < still+1 {
		t.Errorf("UniPC %.2f dB, learned weights %.2f dB, moved timesteps %.2f dB", standard, still, moved)
	}
}

// TestSolverInterpolates checks the solution between its points against one that has other points.
func TestSolverInterpolates(t *testing.T) {
	s, _ := solveTwoKinds(t, 1, diffusion.Sampling{Steps: 2})
	every := *s
	every.logSNR, every.x = nil, nil
	for p := 0; p < len(s.x); p += 2 {
		every.logSNR, every.x = append(every.logSNR, s.logSNR[p]), append(every.x, s.x[p])
	}
	for p := 1; p < len(s.x); p += 2 {
		got, want := every.at(s.logSNR[p]), s.at(s.logSNR[p])
		for i := range got {
			scale := 1 + math.Exp(-s.logSNR[p])
			if d := math.Abs(float64(got[i]-want[i])) / scale; d > 2e-3 {
				t.Fatalf("at log-SNR %.3f: %v, want %v", s.logSNR[p], got[i], want[i])
			}
		}
	}
}

// TestAdams checks the weights for predictions that are a quadratic in log-SNR, whose integral is
// known.
func TestAdams(t *testing.T) {
	nodes := []float64{-1, -0.4, 0.3, 0.9}
	value := func(l float64) float64 { return 2 - l + 0.5*l*l }
	antiderivative := func(l float64) float64 { // of value * -exp(-l)
		return math.Exp(-l) * (2 + 0.5*l*l)
	}
	sum := 0.0
	for j, w := range adams(nodes, 2, 3) {
		sum += w * value(nodes[2-j])
	}
	if want := antiderivative(0.9) - antiderivative(0.3); math.Abs(sum-want) > 1e-4 {
		t.Errorf("integral %v, want %v", sum, want)
	}
	if w := adams(nodes, 3, 3); math.Abs(w[0]+math.Exp(-0.9)) > 1e-12 || w[1] != 0 {
		t.Errorf("weights %v of the last step", w)
	}
}

// TestSolverCalibration checks a calibrated solver's file, and that the sampler that uses it makes
// the images that it was measured on.
func TestSolverCalibration(t *testing.T) {
	p, o := tiny(t)
	o.Steps, o.Measure = 3, 2
	c := &Solver{Trials: 4, Few: 2, Ridge: 1e-6}
	made, err := c.Run(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Steps = 2
	if _, err := c.Run(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	solvers, err := OpenSolvers(filepath.Join(o.Dir, SolversFile))
	if err != nil || len(solvers) != 2 || len(solvers[0].Timesteps) != 2 {
		t.Fatalf("solvers %v, error %v", solvers, err)
	}
	read := solvers[1]
	if !reflect.DeepEqual(read.Weights, made.Weights) || !reflect.DeepEqual(read.Timesteps, made.Timesteps) {
		t.Errorf("read %+v, made %+v", read, made)
	}
	q, err := p.Share(tokencache.Options{Threads: 2, Solvers: solvers})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m := makerOf(t, p, o)
	truth, err := m.solution(context.Background(), 2, o.Seed+1)
	if err != nil {
		t.Fatal(err)
	}
	req := m.request(2, o.Seed+1)
	req.Sampler, req.Steps = "learned", 3
	if q.Identity(req) == p.Identity(req) {
		t.Error("the identity does not depend on the weights")
	}
	r, err := q.Generate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	run := newSolverRun(nil, truth, []float64{0}, 1)
	run.y = append(run.y, append(append([]float32(nil), r.Images[0].Latents...), r.Images[1].Latents...))
	got, want := run.fidelity(o.Seed+1), made.Provenance["unseen"].(Fidelity)
	if math.Abs(got.Mean-want.Mean) > 0.02 || math.Abs(got.Min-want.Min) > 0.02 {
		t.Errorf("the sampler's fidelity is %+v, measured was %+v", got, want)
	}
}
