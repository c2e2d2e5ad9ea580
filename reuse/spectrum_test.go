package reuse

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestSpectrumSteps checks which steps are full, as worked out by hand.
func TestSpectrumSteps(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy Spectrum
		want   string
	}{
		{"a fixed period", Spectrum{Window: 2, Warmup: 3}, "1110101010"},
		// Periods of 2, 2.75, 3.5 and 4.25.
		{"a growing period", Spectrum{Window: 2, Flex: 0.75, Warmup: 1}, "10101001000100"},
		{"everything", Spectrum{Window: 1, Warmup: 1}, "11111"},
		{"no second full step", Spectrum{Window: 1e300, Flex: 1e300, Warmup: 1}, "10000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := steps(test.policy.full(len(test.want))); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestChebyshev checks the polynomials by T_n(cos a) = cos(n·a).
func TestChebyshev(t *testing.T) {
	const angle = 0.7
	for n, got := range chebyshev(math.Cos(angle), 9) {
		if want := math.Cos(float64(n) * angle); math.Abs(got-want) > 1e-12 {
			t.Errorf("degree %d: %g, want %g", n, got, want)
		}
	}
	if got := chebyshev(0.5, 1); len(got) != 1 || got[0] != 1 {
		t.Errorf("of degree 0: %v, want 1", got)
	}
}

// spectrumOf returns what a Spectrum makes of one token of one number, whose value at position p is
// f(p), in a model of one block.
func spectrumOf(t *testing.T, p *Spectrum, steps int, f func(position int) float64) []float64 {
	t.Helper()
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	m := &seam.Shape{Blocks: 1, Tokens: 1, Width: 1}
	run, err := p.NewRun(shaped{shape: m}, Plan{Timesteps: make([]float64, steps)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var list []float64
	for position := range steps {
		g.Reset()
		run.Begin(g, &seam.Batch{}, []int{position})
		x := &seam.Tokens{X: newRows(1, 1), Rows: tensor.Uniform(1, 1), Pos: []int32{0}}
		y := run.Apply(seam.Site{Part: seam.Block}, x, func(x *seam.Tokens) *seam.Tokens {
			x.X.Data[0] = float32(f(position))
			return x
		})
		list = append(list, float64(y.X.Data[0]))
	}
	return list
}

// shaped is a model of which nothing but the shape is asked.
type shaped struct {
	seam.Model
	shape *seam.Shape
}

func (m shaped) Shape() *seam.Shape { return m.shape }

// TestSpectrumForecasts checks forecasts against what they must be: a polynomial of the degree is
// met where the ridge vanishes, a ridge of unlimited strength leaves nothing, and without weight a
// straight line goes through the last two values. The ridge is checked where it is easily solved:
// at degree 0 the fit is the sum of the values over their number and the ridge.
func TestSpectrumForecasts(t *testing.T) {
	cubic := func(p int) float64 { x := float64(p)/10 - 1; return 1 + x - 2*x*x + 3*x*x*x }
	const steps = 20
	for _, test := range []struct {
		name   string
		policy Spectrum
		want   func(position int) float64 // at a position that is not computed
	}{
		{"a cubic", Spectrum{Weight: 1, Degree: 3, Ridge: 1e-9, Window: 4, Warmup: 16}, cubic},
		{"all ridge", Spectrum{Weight: 1, Degree: 3, Ridge: 1e12, Window: 4, Warmup: 5}, func(int) float64 { return 0 }},
		{"the mean, shrunk", Spectrum{Weight: 1, Ridge: 0.5, Window: 100, Warmup: 3}, func(int) float64 {
			return (cubic(0) + cubic(1) + cubic(2)) / 3.5
		}},
		{"a line", Spectrum{Degree: 3, Ridge: 1, Window: 100, Warmup: 3}, func(p int) float64 {
			return cubic(2) + float64(p-2)*(cubic(2)-cubic(1))
		}},
		{"a line of one value", Spectrum{Degree: 3, Ridge: 1, Window: 100, Warmup: 1}, func(int) float64 {
			return cubic(0)
		}},
		{"half of each", Spectrum{Weight: 0.5, Ridge: 0.5, Window: 100, Warmup: 3}, func(p int) float64 {
			return (cubic(0)+cubic(1)+cubic(2))/7 + (cubic(2)+float64(p-2)*(cubic(2)-cubic(1)))/2
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			full := test.policy.full(steps)
			for p, got := range spectrumOf(t, &test.policy, steps, cubic) {
				want := test.want(p)
				if full[p] {
					want = cubic(p)
				}
				if math.Abs(got-want) > 1e-3*(1+math.Abs(want)) {
					t.Errorf("position %d: %g, want %g", p, got, want)
				}
			}
		})
	}
}
