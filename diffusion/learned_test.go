package diffusion

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestLearnedSolverStep checks the tables of a learned solver against its definition in float64.
func TestLearnedSolverStep(t *testing.T) {
	schedule, predict := predictMixture(t)
	l := &LearnedSolver{
		Timesteps: []float64{999, 700.25, 300.5, 60, 2},
		Weights: [][]float64{
			{0.9, 1.1},
			{1.01, 1.2, -0.2},
			{0.99, 1.5, -0.7, 0.2},
			{1, 1.6, -0.9, 0.4, -0.1},
			{1, 1.1, -0.1, 0.01, -0.01},
		},
	}
	m, err := Sampling{Sampler: "learned", Steps: 5}.New(Network{Learned: []*LearnedSolver{l}})
	if err != nil {
		t.Fatal(err)
	}
	tr, eps := NewTrajectory(m, []float32{-2, 0.3, 1}), make([]float32, 3)
	y, past := []float64{-2, 0.3, 1}, [][]float32{}
	ratio := func(k int) float64 {
		if k == len(l.Timesteps) {
			return 0
		}
		return math.Exp(-schedule.LogSNR(l.Timesteps[k]))
	}
	for i := range y {
		y[i] *= math.Sqrt(1 + ratio(0)*ratio(0))
	}
	for k, w := range l.Weights {
		if tr.Timestep() != l.Timesteps[k] {
			t.Fatalf("timestep %v at step %d, want %v", tr.Timestep(), k, l.Timesteps[k])
		}
		if err := predict(eps, tr.X(), tr.Timestep()); err != nil {
			t.Fatal(err)
		}
		past = append([][]float32{slices.Clone(eps)}, past...)
		tr.Step(eps, nil)
		for i := range y {
			sum := 0.0
			for j, v := range w[1:] {
				sum += v * float64(past[j][i])
			}
			y[i] = w[0]*y[i] + (ratio(k+1)-ratio(k))*sum
			want := y[i] / math.Sqrt(1+ratio(k+1)*ratio(k+1))
			if d := math.Abs(want - float64(tr.X()[i])); d > 1e-4 {
				t.Errorf("step %d: x %v, want %v", k, tr.X()[i], want)
			}
		}
	}
	if !tr.Done() {
		t.Error("steps are left")
	}
}

// TestUniversalSolvers checks that there are the solvers that the documentation names, that they
// are nearly consistent where there is little noise, and that they are near the solution on data
// that they were not made for.
func TestUniversalSolvers(t *testing.T) {
	schedule, predict := predictMixture(t)
	start := []float32{-2, -1, 0.3, 1, 2}
	truth, err := Converge(schedule, []float64{999}, start, 200, predict)
	if err != nil {
		t.Fatal(err)
	}
	var counts []int
	for _, l := range UniversalSolvers() {
		counts = append(counts, len(l.Timesteps))
		if l.Timesteps[0] != 999 {
			t.Errorf("%d steps begin at timestep %v, want 999", len(l.Timesteps), l.Timesteps[0])
		}
		for k, w := range l.Weights {
			sum := 0.0
			for _, v := range w[1:] {
				sum += v
			}
			if l.Timesteps[k] < 300 && (math.Abs(w[0]-1) > 0.01 || math.Abs(sum-1) > 0.15) {
				t.Errorf("%d steps: step %d has weights %v and %v", len(l.Timesteps), k, w[0], sum)
			}
		}
		m, err := Sampling{Sampler: "learned", Steps: len(l.Timesteps)}.New(Network{})
		if err != nil {
			t.Fatal(err)
		}
		tr, eps := NewTrajectory(m, start), make([]float32, len(start))
		for !tr.Done() {
			if err := predict(eps, tr.X(), tr.Timestep()); err != nil {
				t.Fatal(err)
			}
			tr.Step(eps, nil)
		}
		d := largestDifference(tr.X(), truth.Final)
		t.Logf("%d steps: error %.3g", len(l.Timesteps), d)
		if d > 0.2 {
			t.Errorf("%d steps: error %.3g", len(l.Timesteps), d)
		}
	}
	if want := []int{9, 11, 15, 19}; !slices.Equal(counts, want) {
		t.Errorf("steps %v, want %v", counts, want)
	}
}

// TestLearnedChoice checks which solver is taken, and what the errors say.
func TestLearnedChoice(t *testing.T) {
	own := func(first float64) *LearnedSolver {
		return &LearnedSolver{Timesteps: []float64{999, 400}, Weights: [][]float64{{1, first}, {1, 1.5, -0.5}}}
	}
	a, b := own(1), own(1.25)
	network := Network{Learned: []*LearnedSolver{a, b}}
	two := Sampling{Sampler: "learned", Steps: 2}
	if got := two.SolverDigest(network); got != a.Digest() || got == b.Digest() {
		t.Errorf("digest %s, want %s of the first", got, a.Digest())
	}
	noted := *a
	noted.Provenance = map[string]any{"seed": 1}
	if noted.Digest() != a.Digest() {
		t.Error("the provenance changes the digest")
	}
	if got := (Sampling{Sampler: "ddim"}).SolverDigest(network); got != "" {
		t.Errorf("digest %q of ddim", got)
	}
	for _, test := range []struct {
		name     string
		sampling Sampling
		network  Network
		want     string
	}{
		{"steps", Sampling{Sampler: "learned", Steps: 10}, network, `steps 10: want 2, 9, 11, 15, 19 with sampler "learned"`},
		{"no own", two, Network{}, `steps 2: want 9, 11, 15, 19 with sampler "learned"`},
		{"default", Sampling{Sampler: "learned"}, Network{}, "steps 50: want 9, 11, 15, 19"},
		{"spacing", Sampling{Sampler: "learned", Steps: 9, Spacing: "logsnr"}, network, "spacing logsnr: want none"},
		{"order", Sampling{Sampler: "learned", Steps: 9, Order: 3}, network, "order 3: want none"},
		{"eta", Sampling{Sampler: "learned", Steps: 9, Eta: 1}, network, `eta 1: want 0: sampler "learned" has no eta`},
		{"schedule", Sampling{Sampler: "learned", Steps: 9}, Network{Schedule: "cosine"}, "no weights for the schedule cosine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.sampling.New(test.network); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	var field *FieldError
	if _, err := (Sampling{Sampler: "learned", Steps: 8}).New(Network{}); !errors.As(err, &field) || field.Field != "Steps" {
		t.Errorf("%v, want an error of Steps", err)
	}
}

// TestLearnedSolverFiles checks that files come back as they were written, and that broken ones are
// refused.
func TestLearnedSolverFiles(t *testing.T) {
	var b bytes.Buffer
	if err := WriteLearnedSolvers(&b, UniversalSolvers()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLearnedSolvers(bytes.NewReader(b.Bytes()))
	if err != nil || !reflect.DeepEqual(got, UniversalSolvers()) {
		t.Errorf("read %v, %v", got, err)
	}
	for _, test := range []struct{ name, text, want string }{
		{"no JSON", `x`, "invalid character"},
		{"unknown field", `{"format":1,"tables":[]}`, "unknown field"},
		{"format", `{"format":2,"solvers":[{"timesteps":[9],"weights":[[1,1]]}]}`, "format 2 with 1 solvers, want format 1"},
		{"none", `{"format":1,"solvers":[]}`, "0 solvers"},
		{"null", `{"format":1,"solvers":[null]}`, "null"},
		{"schedule", `{"format":1,"solvers":[{"schedule":"s","timesteps":[9],"weights":[[1,1]]}]}`, `schedule "s"`},
		{"lengths", `{"format":1,"solvers":[{"timesteps":[9],"weights":[]}]}`, "1 timesteps and weights of 0 steps"},
		{"rising", `{"format":1,"solvers":[{"timesteps":[9,10],"weights":[[1,1],[1,1]]}]}`, "timestep 10 at step 1"},
		{"range", `{"format":1,"solvers":[{"timesteps":[1000],"weights":[[1,1]]}]}`, "timestep 1000 at step 0"},
		{"too many", `{"format":1,"solvers":[{"timesteps":[9],"weights":[[1,1,1]]}]}`, "3 weights at step 0, want 2 to 2"},
		{"too few", `{"format":1,"solvers":[{"timesteps":[9],"weights":[[1]]}]}`, "1 weights at step 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ReadLearnedSolvers(strings.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
