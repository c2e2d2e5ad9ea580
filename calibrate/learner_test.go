package calibrate

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestDifferences checks that Newton's factors times the divided differences forecast a parabola
// exactly, from unevenly spaced values, and that higher differences of it vanish.
func TestDifferences(t *testing.T) {
	parabola := func(p int) float64 { return 3 - 0.7*float64(p) + 0.05*float64(p*p) }
	qs := []int{17, 12, 9, 3}
	for k := 1; k <= len(qs); k++ {
		basis, newton := differences(20, qs[:k])
		got := 0.0
		for i, w := range combine(basis, newton[:k]) {
			got += w * parabola(qs[i])
		}
		if want := parabola(20); k >= 3 && math.Abs(got-want) > 1e-9 {
			t.Errorf("forecast from %v: %g, want %g", qs[:k], got, want)
		}
		if k == 4 {
			third := 0.0
			for i, w := range basis[3] {
				third += w * parabola(qs[i])
			}
			if math.Abs(third) > 1e-9 {
				t.Errorf("third difference of a parabola: %g", third)
			}
		}
	}
}

// TestTarget checks that a step with the target noise leads from anywhere to where the uncached
// image is next.
func TestTarget(t *testing.T) {
	for _, sampler := range []string{"ddim", "ddpm"} {
		r := &reference{plan: reuse.Plan{Sampling: diffusion.Sampling{Sampler: sampler}, Sigma: []float64{10, 4, 0.5}}, size: 2}
		mean := func(p int, x, eps float64) float64 { // the step's mean, in y = x·sqrt(1+sigma²)
			s, next := r.plan.Sigma[p], r.plan.Sigma[p+1]
			y := x * math.Sqrt(1+s*s)
			if sampler == "ddpm" {
				return y - (s*s-next*next)/s*eps
			}
			return y + (next-s)*eps
		}
		r.states = [][]float32{{0.3, -1, 0.2, -0.9, 0, 0}}
		r.noises = [][]float32{{0.5, -0.4, 0.6, -0.3, 0, 0}}
		for p := range 2 {
			x, target := []float32{0.35, -0.8}, make([]float32, 2)
			r.target(target, 0, p, x)
			for k := range x {
				got := mean(p, float64(x[k]), float64(target[k]))
				want := mean(p, float64(r.states[0][2*p+k]), float64(r.noises[0][2*p+k]))
				if math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
					t.Errorf("%s, step %d: led to %g, want %g", sampler, p, got, want)
				}
			}
		}
	}
}

func TestPlacements(t *testing.T) {
	for _, steps := range []int{8, 50, 250} {
		for count := 2; count <= steps; count += 3 {
			for _, bend := range bends {
				for _, end := range []int{steps, steps + steps/count - 1} {
					list := bent(steps, end, count, bend)
					if len(list) != count || !increasing(list, steps) {
						t.Errorf("%d of %d steps, bend %g, end %d: %v", count, steps, bend, end, list)
					}
				}
			}
			if list := evenly(steps, count); !increasing(list, steps) {
				t.Errorf("evenly: %v", list)
			}
		}
	}
	if increasing([]int{0, 3, 3}, 8) || increasing([]int{0, 8}, 8) || increasing([]int{1, 2}, 8) {
		t.Error("positions that are not rising from 0 within the steps pass")
	}
}

func TestGauss(t *testing.T) {
	a := [terms][terms]float64{{4, 1, 0.5}, {1, 3, 0.2}, {0.5, 0.2, 2}}
	x := []float64{0.3, -2, 1.5}
	var b [terms]float64
	for i := range 3 {
		for j := range 3 {
			b[i] += a[i][j] * x[j]
		}
	}
	got := gauss(a, b, 3)
	if !slices.EqualFunc(got[:3], x, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
		t.Errorf("solution %v, want %v", got, x)
	}
}

// TestLearner holds, on a DiT and on an MDT, that what is predicted while weights are sought is
// what the model predicts with them, and that they bring it nearer to the target than Newton's do.
func TestLearner(t *testing.T) {
	for _, c := range []struct {
		name  string
		half  bool    // the last step is a half step
		ratio float64 // of the tokens it computes
	}{
		{"dit-tiny", false, 0}, {"mdtv1-tiny", false, 0}, {"dit-tiny", true, 0}, {"mdtv1-tiny", true, 0},
		{"dit-tiny", false, 0.5}, {"mdtv1-tiny", false, 0.5},
	} {
		name := c.name
		w, err := dit.Open(filepath.Join("..", "testdata", name), dit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := w.Load()
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		const images, steps = 2, 4
		size := m.InChannels * m.InputSize * m.InputSize
		random := rand.New(rand.NewPCG(1, 2))
		normal := func(n int) []float32 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(random.NormFloat64())
			}
			return x
		}
		ref := &reference{plan: reuse.Plan{Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 4}, Timesteps: []float64{800, 700, 600, 500}, Sigma: []float64{4, 3, 2, 1}}, size: size}
		x := tensor.FromSlice(normal(2*images*size), 2*images, size)
		for i := range images {
			copy(x.Row(images+i), x.Row(i)) // guidance's other half
			ref.states = append(ref.states, normal(steps*size))
			ref.noises = append(ref.noises, normal(steps*size))
			copy(ref.states[i][3*size:], x.Row(i))
		}
		policy := *reuse.NewTokenCache()
		policy.Ratio, policy.Learned, policy.Steps, policy.Forecast = c.ratio, true, (&TokenCache{}).listed([]int{0, 1, 2}), reuse.NewForecast(steps, terms)
		if c.half {
			policy.Steps.Half = []int{3}
		}
		pool := tensor.NewPool(2)
		g := tensor.NewGraph(pool)
		l := &learner{policy: &policy, ref: ref, guidance: diffusion.Guidance{Scale: 1.5}, channels: m.InChannels, levels: diffusion.UniversalSchedule()}
		guide := func(out *tensor.Tensor) [][]float32 {
			guided := make([][]float32, images)
			for i := range guided {
				guided[i] = make([]float32, out.Cols)
				l.guidance.Apply(guided[i], out.Row(i), out.Row(images+i), m.InChannels, m.InputSize*m.InputSize, 500)
			}
			return guided
		}
		b := &seam.Batch{X: x, T: []float32{500, 500, 500, 500}, Cond: dit.Classes(1, 2, int32(m.NullClass()), int32(m.NullClass())), Unconditional: []int{2, 3, -1, -1}}
		for i, noise := range guide(m.Forward(g, seam.Always, b)) { // the uncached image is at the same place
			copy(ref.noises[i][3*size:], noise[:size])
		}
		run, err := l.NewRun(m, ref.plan, 2*images)
		if err != nil {
			t.Fatal(err)
		}
		positions := make([]int, 2*images)
		var out *tensor.Tensor
		for p := range steps {
			for i := range positions {
				positions[i], b.T[i] = p, float32(ref.plan.Timesteps[p])
			}
			g.Reset()
			run.Begin(g, b, positions)
			out = m.Forward(g, run, b)
		}
		r := run.(*learnRun)
		last, predict := &r.past, r.predictWith(r.addForecast)
		switch {
		case c.half:
			last, predict = &r.guided, r.predictWith(r.addDerived(r.past.values[0]))
		case c.ratio > 0:
			predict = func(weights []float64) [][]float32 { return r.predictTokens(positions, weights) }
		}
		basis, newton := differences(3, last.at)
		weights := make([]float64, terms)
		for i, v := range policy.Forecast.At(3) {
			weights[i] = float64(v)
		}
		got := guide(out) // before predictTokens runs in its memory
		distance := func(x [][]float32) (sum float64) {
			for i := range x {
				target := make([]float32, size)
				ref.target(target, i, 3, b.X.Row(i))
				for k, v := range target {
					sum += math.Pow(float64(v-x[i][k]), 2)
				}
			}
			return sum
		}
		want := predict(weights[:len(last.at)])
		for i := range want {
			for k, v := range want[i] {
				if d := math.Abs(float64(v - got[i][k])); d > 1e-4*(1+math.Abs(float64(v))) {
					t.Fatalf("%+v: image %d, element %d: the model predicts %g, the learner thought %g", c, i, k, got[i][k], v)
				}
			}
		}
		if learned, plain := distance(want), distance(predict(combine(basis, newton[:len(basis)]))); !(learned < plain) {
			t.Errorf("%+v: learned weights leave %g, Newton's %g", c, learned, plain)
		}
		pool.Close()
	}
}
