package diffusion

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestScheduleLogSNR checks the log-SNR at whole timesteps against the process, its monotony, and
// that Timestep is its inverse.
func TestScheduleLogSNR(t *testing.T) {
	for _, name := range []string{"linear", "cosine"} {
		t.Run(name, func(t *testing.T) {
			schedule, err := ParseSchedule(name, Timesteps)
			if err != nil {
				t.Fatal(err)
			}
			process := mustProcess(t, name, "")
			for i := range Timesteps {
				if got, want := schedule.LogSNR(float64(i)), process.LogSNR(i); math.Abs(got-want) > 1e-11 {
					t.Fatalf("log-SNR %v at timestep %d, want %v", got, i, want)
				}
			}
			if schedule.LogSNR(-1) != schedule.LogSNR(0) || schedule.LogSNR(2000) != schedule.LogSNR(999) {
				t.Error("timesteps outside are not clamped")
			}
			if a, b := schedule.Timestep(100), schedule.Timestep(-100); a != 0 || b != 999 {
				t.Errorf("log-SNRs outside have timesteps %v and %v, want 0 and 999", a, b)
			}
			rapid.Check(t, func(t *rapid.T) {
				a := rapid.Float64Range(0, 999).Draw(t, "timestep")
				b := rapid.Float64Range(0, 999).Draw(t, "other timestep")
				if a < b && schedule.LogSNR(a) < schedule.LogSNR(b) {
					t.Fatalf("log-SNR grows from timestep %v to %v", a, b)
				}
				if got := schedule.Timestep(schedule.LogSNR(a)); math.Abs(got-a) > 1e-8 {
					t.Fatalf("timestep %v of the log-SNR of %v", got, a)
				}
			})
		})
	}
}

// TestLogSNRBetween checks real timesteps of the linear schedule, whose log(1-beta) is nearly
// linear in t, so that the sum over steps is Euler and Maclaurin's: half a beta more or less makes
// a step of half the size.
func TestLogSNRBetween(t *testing.T) {
	schedule, err := Linear(Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	beta := func(t float64) float64 { return 1e-4 + t*(0.02-1e-4)/999 }
	for _, k := range []int{0, 1, 10, 500, 998} {
		now := schedule.logs[k]
		// log alpha-bar is about the integral of log(1-beta) up to t+1/2.
		want := now + (math.Log1p(-beta(float64(k)+0.5))+math.Log1p(-beta(float64(k)+1)))/4
		got := -math.Log1p(math.Exp(-2 * schedule.LogSNR(float64(k)+0.5)))
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("log alpha-bar %v at timestep %d.5, want %v", got, k, want)
		}
	}
}

// TestSingleAlphaCumprod checks alpha-bar in float32 against diffusers', bit for bit.
func TestSingleAlphaCumprod(t *testing.T) {
	schedule, err := Linear(Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range readTensors(t, "solver_runs").f32("alphas_cumprod") {
		if got := float32(schedule.single[k]); got != want {
			t.Errorf("alpha-bar %v at timestep %d, want %v", got, k, want)
		}
	}
}

// TestPhi checks phi_k against its integral by Simpson's rule, near 0 and on both sides of where
// the series gives way to the recursion.
func TestPhi(t *testing.T) {
	for _, z := range []float64{0, 1e-9, -1e-3, 0.5, 0.999, -0.999, 1.001, -1.001, 3, -7} {
		for k := 1; k <= 4; k++ {
			const intervals = 2000
			factorial := math.Gamma(float64(k))
			sum := 0.0
			for i := 0; i <= intervals; i++ {
				u := float64(i) / intervals
				weight := 4.0
				switch {
				case i == 0 || i == intervals:
					weight = 1
				case i%2 == 0:
					weight = 2
				}
				sum += weight * math.Exp((1-u)*z) * math.Pow(u, float64(k-1)) / factorial
			}
			if got, want := phi(k, z), sum/(3*intervals); !within(got, want, 1e-9) {
				t.Errorf("phi_%d(%v) = %v, want %v", k, z, got, want)
			}
		}
	}
}

// TestQuadrature checks that the weights integrate polynomials through their nodes exactly.
func TestQuadrature(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "nodes")
		nodes, moments, coefs := make([]float64, n), make([]float64, n), make([]float64, n)
		want := 0.0
		for k := range n {
			nodes[k] = -float64(k) + rapid.Float64Range(-0.4, 0.4).Draw(t, "shift")
			moments[k] = 1 / float64(k+1)
			coefs[k] = rapid.Float64Range(-1, 1).Draw(t, "coefficient")
			want += coefs[k] * moments[k]
		}
		got := 0.0
		for j, w := range quadrature(nodes, moments) {
			got += w * horner(nodes[j], coefs)
		}
		if math.Abs(got-want) > 1e-9 {
			t.Fatalf("integral %v, want %v", got, want)
		}
	})
}
